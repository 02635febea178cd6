"""What the tests of the Studio share: a server in this process, on a port of its own, and what is done on the page again and again."""

import base64
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from helpers_browser import Browser

from mezzotint.model.model import Model
from mezzotint.serve.http.server import configured
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, make_limits


class Live:
    """A server that can be stopped, and started again at its address. slow: seconds that each network call takes at least."""

    def __init__(self, models: dict[str, Model], log: Path, **settings: Any) -> None:
        limits = make_limits(**settings.pop("limits", {}))
        self.models, self.settings = models, Settings(log=log, limits=limits, **settings)
        self.slow, self.port = 0.0, 0
        self._hooks = [model.net.register_forward_pre_hook(self._wait) for model in models.values()]
        self.start()

    def _wait(self, net: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        time.sleep(self.slow)

    def start(self) -> None:
        self.service = Service(self.models, self.settings)
        config = configured(self.settings, self.service)
        config.port, config.timeout_graceful_shutdown = self.port, 1
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.service.close()

    def end(self) -> None:
        self.stop()
        for hook in self._hooks:
            hook.remove()


@contextmanager
def served(models: dict[str, Model], log: Path, **settings: Any) -> Iterator[Live]:
    live = Live(models, log, **settings)
    try:
        yield live
    finally:
        live.end()


class Studio:
    """The page in a browser, by the words that stand on it."""

    def __init__(self, page: Browser, live: Live) -> None:
        self.page, self.live = page, live

    def open(self, view: str = "make") -> None:
        """The view of a page that has nothing of an earlier test but the history."""
        self.page.run("try { sessionStorage.clear(); } catch {}")
        self.page.go("about:blank")
        self.page.go(f"{self.live.address}/studio#{view}")
        self.ready()

    def ready(self) -> None:
        self.page.wait("document.body?.dataset.ready && location.pathname === '/studio'")

    def set(self, field: str, value: Any) -> None:
        done = f"""(() => {{ const field = document.getElementById({field!r}); field.value = {str(value)!r};
          for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {{ bubbles: true }})); return field.value; }})()"""
        assert self.page.run(done) == str(value), (field, value)

    def fix_seed(self, seed: Any) -> None:
        self.page.run("document.getElementById('fresh').checked && document.getElementById('fresh').click()")
        self.set("seed", seed)

    def press(self, field: str) -> None:
        self.page.run(f"document.getElementById({field!r}).click()")

    def said(self, view: str = "make") -> str:
        return str(self.page.run(f"document.querySelector('#{view} .said').textContent"))

    def notice(self) -> str:
        return str(self.page.run("document.getElementById('notice').textContent"))

    def await_said(self, pattern: str, view: str = "make") -> str:
        where = f"document.querySelector('#{view} .said').textContent"
        return str(self.page.wait(f"/{pattern}/.test({where}) && {where}"))

    def make(self, view: str = "make") -> str:
        self.press("go")
        return self.await_said("^(Done|It failed)", view)

    def count(self, view: str = "make") -> int:
        return int(self.page.run(f"document.querySelectorAll('#{view} .tile:enabled').length"))

    def files(self) -> list[bytes]:
        """The pictures of the history, newest first."""
        script = """import('/studio/history.js').then(async ({ all }) => (await all()).map(({ bytes }) => btoa(String.fromCharCode(...bytes))))"""
        return [base64.b64decode(one) for one in self.page.run(script)]

    def forget(self) -> None:
        self.page.run("import('/studio/history.js').then(async ({ all, remove }) => remove(await all()))")

    def drop(self, content: bytes, name: str = "picture.png", event: str = "drop") -> None:
        """A file let go over the page, or pasted."""
        text = base64.b64encode(content).decode()
        where = "dataTransfer" if event == "drop" else "clipboardData"
        kind = "DragEvent" if event == "drop" else "ClipboardEvent"
        self.page.run(f"""(() => {{ const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob({text!r}), (c) => c.charCodeAt(0))], {name!r}, {{ type: 'image/png' }}));
          dispatchEvent(new {kind}({event!r}, {{ {where}: data, cancelable: true }})); }})()""")

    def drag(self, element: str, *places: tuple[float, float]) -> None:
        """The mouse, held from place to place; places are shares of an element's width and height, and may lie outside."""
        self.page.run(f"document.getElementById({element!r}).scrollIntoView({{ block: 'center' }})")
        box = self.page.run(
            f"(() => {{ const b = document.getElementById({element!r}).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()"
        )
        for i, (x, y) in enumerate(places):
            at = {"x": box[0] + x * box[2], "y": box[1] + y * box[3], "button": "left", "clickCount": 1}
            for kind in ["mousePressed"] if i == 0 else ["mouseMoved"]:
                self.page.say("Input.dispatchMouseEvent", type=kind, buttons=1, **at)
        self.page.say("Input.dispatchMouseEvent", type="mouseReleased", **at)


def job_in(address: str) -> str:
    found = re.search(r"job=([\w-]+)", address)
    assert found is not None, address
    return found[1]
