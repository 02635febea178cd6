"""A headless Chromium that is spoken to through a pipe, by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page in")
SECONDS = 120  # that anything may take on a busy machine


class Browser:
    """One page. requests: the addresses of all that it asked for; complaints: errors and warnings of its console. Whatever asks the
    network, the page, its worker or the browser itself, is sent to `proxy`, where nobody answers; this machine's own servers are reached."""

    def __init__(self, to: int, of: int, proxy: socket.socket) -> None:
        self._to, self._of, self._rest, self._number, self._proxy = to, of, b"", 0, proxy
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        self.page()

    def page(self) -> str:
        """Opens another page, a tab, which is the one spoken to from now on; `turn` goes back to an older one."""
        self._session = None
        target = self.say("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.say("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Page", "Runtime", "Log"):
            self.say(f"{domain}.enable")
        return self.session

    def turn(self, page: str) -> None:
        self._session = page

    @property
    def session(self) -> str:
        assert self._session is not None
        return self._session

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(event["params"]["exceptionDetails"])[:600])
            case "Runtime.consoleAPICalled" if event["params"]["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(event["params"]["args"])[:600])
            case "Log.entryAdded" if event["params"]["entry"]["level"] in ("error", "warning"):
                entry = event["params"]["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def say(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command, and returns its result; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
        raise AssertionError("the browser is gone")

    def _messages(self) -> Iterator[dict[str, Any]]:
        until = time.monotonic() + SECONDS
        while True:
            while b"\0" in self._rest:
                line, self._rest = self._rest.split(b"\0", 1)
                yield json.loads(line)
            assert select.select([self._of], [], [], until - time.monotonic())[0], "the browser is silent"
            part = os.read(self._of, 2**20)
            if not part:
                return
            self._rest += part

    def asked_the_network(self) -> bool:
        return bool(select.select([self._proxy], [], [], 0)[0])

    def open(self, path: Path) -> None:
        self.say("Page.navigate", url=path.absolute().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def go(self, address: str) -> None:
        """Opens an address, or only its part behind #, where it is of the page that is open."""
        self.say("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, what it comes to."""
        done = self.say("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str) -> Any:
        """Until an expression is true."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if value := self.run(script):
                return value
            time.sleep(0.05)
        raise AssertionError(f"never: {script}; the page says {self.run('document.body?.innerText')}")

    def press(self, key: str) -> None:
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.say("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))

    def width(self, pixels: int, height: int = 900) -> None:
        mobile = pixels < 600
        size = {"width": pixels, "height": height}
        self.say("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=mobile)

    def screenshot(self, path: Path) -> None:
        shot = self.say("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser of its own, that ends with the block. It reads from file descriptor 3 and writes to 4."""
    assert CHROMIUM is not None
    theirs_in, to = os.pipe()
    of, theirs_out = os.pipe()
    proxy = socket.create_server(("127.0.0.1", 0))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ]
    command += ["--disable-background-networking", f"--proxy-server=127.0.0.1:{proxy.getsockname()[1]}"]
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command, "--remote-debugging-pipe", "--no-first-run", "about:blank"],
        pass_fds=(theirs_in, theirs_out),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(to, of, proxy)
    finally:
        process.terminate()
        process.wait(20)
        os.close(to)
        os.close(of)
        proxy.close()
