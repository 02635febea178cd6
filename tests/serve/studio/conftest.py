"""One browser and one server for all tests of the page, which is loaded anew for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_browser import CHROMIUM, Browser, browser
from helpers_studio import Live, Studio, served

from mezzotint.model.loading import load
from mezzotint.model.model import Model


@pytest.fixture(scope="package")
def bundled_models() -> dict[str, Model]:
    return {name: load(name, device="cpu", precision="fp32") for name in ("digits", "moons")}


@pytest.fixture(scope="package")
def live(
    bundled_models: dict[str, Model], runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    with served(bundled_models, log, runs=runs) as live:
        yield live


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium to open the page in")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, browser(home / "profile") as page:
        patch.setenv("HOME", str(home))
        yield page


@pytest.fixture
def studio(chromium: Browser, live: Live) -> Iterator[Studio]:
    """The page at its first view, and afterwards: no complaint of the browser, and nothing asked of others."""
    live.slow = 0.0
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.width(1280)
    studio = Studio(chromium, live)
    studio.open()
    yield studio
    assert chromium.complaints == []
    own = (live.address, "blob:", "data:", "about:")
    assert [one for one in chromium.requests if not one.startswith(own)] == []
    assert not chromium.asked_the_network()
