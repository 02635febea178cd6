"""What the Studio costs, in a real browser against a server of its own, on this machine.

    python benchmarks/studio.py [-o FILE]

bytes: all files of the page, uncompressed. first paint: of the browser, from the request of the page on. first picture: from the press of
Make to the picture of mnist_fast, one, on the screen and in the history. grid: 3x3 pictures (three guidances by three seeds, 20 steps) of an untrained model of
16x16 pictures, sent together by the page, against the same nine requests one after the other, by the page's own module, so that both are measured in one
browser on one server. The fastest of REPEATS is told, since other work on the machine only adds. Needs Chromium. Prints a table, and writes JSON
with -o.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving import make_model

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from helpers_browser import CHROMIUM, Browser, browser

from mezzotint.serve.http.studio import FILES

REPEATS = 5
SAID = "document.querySelector('#{view} .said').textContent"
IN_TURN = """import('/studio/api.js').then(async ({ ask }) => {
  const began = performance.now();
  for (const guidance of [1.5, 2, 4]) for (const seed of [1, 2, 3]) {
    await (await ask('v1/generate', { body: { guidance, seed, model: 'bench', steps: 20 } })).arrayBuffer();
  }
  return performance.now() - began;
})"""


def serve(model: Path) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable,
        "-m",
        "mezzotint",
        "serve",
        "mnist_fast",
        str(model),
        "--device",
        "cpu",
        "--port",
        "0",
    ]
    server = subprocess.Popen(
        [*command, "--log", str(model.parent / "log")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    found = re.search(r"at (http://[\d.:]+)", server.stdout.readline())
    assert found is not None
    return server, found[1]


def opened(page: Browser, address: str) -> float:
    """Opens the page anew; milliseconds to its first paint."""
    page.go("about:blank")
    page.go(f"{address}/studio")
    page.wait("document.body?.dataset.ready && location.pathname === '/studio'")
    return float(page.wait("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))


def first_picture(page: Browser) -> float:
    """Milliseconds from the press to the finished picture."""
    script = """new Promise((resume) => { const began = performance.now(); document.getElementById('n').value = 1;
      addEventListener('history', () => requestAnimationFrame(() => resume(performance.now() - began)), { once: true });
      document.getElementById('go').click(); })"""
    return float(page.run(script))


def grid(page: Browser) -> float:
    """Milliseconds for nine pictures that are sent together, as `in_turn` asks for them."""
    page.run(
        "(() => { for (const [id, value] of Object.entries({ steps: 20, 'x-axis': 'guidance', 'y-axis': 'seed', "
        "'x-values': '1.5, 2, 4', 'y-values': '1-3' })) document.getElementById(id).value = value; })()"
    )
    script = """new Promise((resume) => { const began = performance.now();
      addEventListener('busy', () => addEventListener('busy', () => resume(performance.now() - began), { once: true }), { once: true });
      document.getElementById('go').click(); })"""
    taken = float(page.run(script))
    assert re.match(r"9 pictures in", page.run(SAID.format(view="grid"))), page.run(SAID.format(view="grid"))
    return taken


def cpu_ms(server: subprocess.Popen[str]) -> float:
    """Milliseconds that a process has computed; 0 where the system does not tell."""
    try:
        words = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        return 1000 * (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        model = make_model(Path(folder))
        server, address = serve(model)
        try:
            with browser(Path(folder) / "profile") as page:
                page.width(1280)
                paints = [opened(page, address) for _ in range(REPEATS)]
                pictures = [first_picture(page) for _ in range(REPEATS)]
                page.run("document.getElementById('fresh').click()")
                page.run(
                    "(async () => { const { choose } = await import('/studio/form.js'); await choose('bench'); location.hash = '#grid'; })()"
                )
                page.wait("!document.getElementById('grid').hidden")
                together, in_turn, computed = [], [], []
                for _ in range(REPEATS):
                    marks = [cpu_ms(server)]
                    together.append(grid(page))
                    marks.append(cpu_ms(server))
                    in_turn.append(float(page.run(IN_TURN)))
                    marks.append(cpu_ms(server))
                    computed.append((marks[1] - marks[0], marks[2] - marks[1]))
        finally:
            server.terminate()
            server.wait(30)
    ratio = statistics.median(b / a for a, b in zip(together, in_turn))
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "bytes": sum(len(path.read_bytes()) for path in FILES.values()),
        "first_paint_ms": min(paints),
        "first_picture_ms": min(pictures),
        "grid_ms": min(together),
        "in_turn_ms": min(in_turn),
        "times_faster": ratio,
        "server_cpu_ms": [min(pair) for pair in zip(*computed)],
        "all": {"paints": paints, "pictures": pictures, "together": together, "in_turn": in_turn},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("there is no Chromium to open the page in")
    found = measure()
    print("| | |\n|---|---|")
    print(f"| the page, all files, uncompressed | {found['bytes']:,} bytes |")
    print(f"| first paint | {found['first_paint_ms']:.0f} ms |")
    print(f"| from Make to a picture of mnist_fast | {found['first_picture_ms']:.0f} ms |")
    print(f"| grid of 3x3, 16x16 pictures, sent together | {found['grid_ms']:.0f} ms |")
    print(f"| the same nine in turn | {found['in_turn_ms']:.0f} ms |")
    print(f"| times faster, median of {REPEATS} pairs | {found['times_faster']:.1f} |")
    together, in_turn = found["server_cpu_ms"]
    print(f"| what the server computes for them | {together:.0f} and {in_turn:.0f} ms |")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
