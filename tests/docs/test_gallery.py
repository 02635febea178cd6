"""The gallery says what the pages of runs and the recipes say."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    return module_of(ROOT / "docs" / "gallery.py")


def test_it_is_what_the_runs_say(gallery: ModuleType) -> None:
    text, wrong = gallery.page()
    assert wrong == [], "run: python docs/gallery.py"
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == text, "run: python docs/gallery.py"
    for path in (ROOT / "src/mezzotint/recipes").glob("*.yaml"):
        assert f"mezzotint train {path.stem}" in text, path.stem
    for path in (ROOT / "docs/experiments").glob("*.md"):
        assert path.stem == "index" or f"(experiments/{path.name})" in text, path.name


def test_what_is_stale_is_named(gallery: ModuleType, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    for folder in ("docs/experiments", "src/mezzotint/recipes"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copytree(ROOT / "docs" / "pictures", docs / "pictures")
    assert gallery.page(tmp_path) == gallery.page()
    (docs / "pictures" / "gallery-cifar10.png").unlink()
    shutil.copy(docs / "pictures" / "gallery-scenes.png", docs / "pictures" / "gallery-bouncing.png")
    shutil.copy(
        docs / "experiments/pictures/flowers-samples.png", docs / "experiments/pictures/digits-samples.png"
    )
    changed = docs / "experiments" / "digits.md"
    changed.write_text(changed.read_text("utf-8").replace("395,857", "5"), "utf-8")
    text, wrong = gallery.page(tmp_path)
    assert "| parameters | 5 |" in text
    assert [line.partition(" ")[::2] for line in wrong] == [
        ("experiments/pictures/digits-samples.png", "has more than 100 kB: say in CUTS what to keep"),
        ("pictures/gallery-bouncing.png", "is stale"),
        ("pictures/gallery-cifar10.png", "is not there"),
    ]
    changed.write_text("# Digits\n\nNo table.\n")
    with pytest.raises(ValueError, match=r"digits\.md: nothing is like"):
        gallery.page(tmp_path)
