"""Models of the hub, where its library answers as it does with and without a network."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.disk import hub
from mezzotint.disk.names import bundled, find, spoken
from mezzotint.errors import MissingExtra, ModelError
from mezzotint.model.loading import load


class NotFoundError(Exception):
    pass


class InvalidError(ValueError):
    pass


class Hub:
    """Stands in for huggingface_hub: repositories by name, each a list of files, downloaded into a cache of its layout."""

    utils = SimpleNamespace(RepositoryNotFoundError=NotFoundError, HFValidationError=InvalidError)

    def __init__(self, cache: Path, repositories: dict[str, dict[str, Path]], online: bool = True) -> None:
        self.cache, self.repositories, self.online = cache, repositories, online
        self.asked: list[tuple[str, list[str]]] = []

    def snapshot_download(self, name: str, *, allow_patterns: list[str], etag_timeout: float) -> str:
        self.asked.append((name, allow_patterns))
        if not self.online:
            raise ConnectionError("no route to host\nmore of it")
        if name not in self.repositories:
            raise NotFoundError(name)
        folder = self.cache / f"models--{name.replace('/', '--')}" / "snapshots" / "0123abc"
        folder.mkdir(parents=True, exist_ok=True)
        for file, path in self.repositories[name].items():
            if file in allow_patterns:
                shutil.copy(path, folder / file)
        return str(folder)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.chdir(tmp_path)
    model = {"model.safetensors": bundled()["moons"], "pickle.bin": bundled()["moons"]}
    made = Hub(tmp_path / "cache", {"somebody/moons": model, "somebody/else": {}})
    monkeypatch.setitem(sys.modules, "huggingface_hub", made)
    return made


def test_a_model_that_is_named_is_fetched(there: Hub) -> None:
    assert load("somebody/moons").source == "moons"
    path = find("somebody/moons")
    assert spoken(path) == "moons" and [file.name for file in path.parent.iterdir()] == ["model.safetensors"]
    assert {tuple(files) for _, files in there.asked} == {("model.safetensors",)}


def test_what_is_here_is_not_asked_for(there: Hub, tmp_path: Path) -> None:
    find("moons")
    for name in ("nowhere", "a/b/c", "runs/nowhere", f"{tmp_path}/nowhere", "nowhere/model.safetensors"):
        with pytest.raises(ModelError, match="no run and no model file is called"):
            find(name)
    Path("somebody/moons").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        find("somebody/moons")
    assert there.asked == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("somebody/nothing", "and the hub has no public model 'somebody/nothing'; check its name"),
        ("somebody/else", r"holds no model\.safetensors; .* mezzotint import diffusers somebody/else"),
    ],
)
def test_what_the_hub_has_not(there: Hub, name: str, line: str) -> None:
    with pytest.raises(ModelError, match=line):
        find(name)


def test_without_a_network_and_without_the_library(there: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    there.online = False
    with pytest.raises(
        ModelError, match=r"the hub \(no route to host\); download it elsewhere and give its folder"
    ):
        find("somebody/moons")
    absent: Any = None
    monkeypatch.setitem(sys.modules, "huggingface_hub", absent)
    with pytest.raises(MissingExtra, match=r'huggingface_hub, .* pip install "mezzotint\[hub\]"'):
        find("somebody/moons")


def test_names_of_files_elsewhere() -> None:
    assert hub.name_of(Path("/cache/models--a--b/snapshots/1/model.safetensors")) == "b"
    assert hub.name_of(Path("/runs/snapshots/model.safetensors")) is None
