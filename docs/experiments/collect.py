"""Pictures and facts of a finished run for its page.

    python docs/experiments/collect.py runs/mnist mnist

Writes pictures/NAME-training.png (two rows of the sample sheets along training; not of clips), NAME-loss.png and NAME-samples.png
(64 fresh samples from seed 1000000 on, 2,000 points, 10 clips), and prints the table of facts.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from mezzotint import load, plots
from mezzotint.disk.folder import read_metrics

PICTURES = Path(__file__).parent / "pictures"
ROWS_OF_A_SHEET = 2  # of a sheet
CAPTION_PIXELS = 130  # pixels
MAX_WIDTH_PIXELS = 900


def step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def along_training(folder: Path, rows_of_a_sheet: int) -> Image.Image:
    """The first rows of at most five sheets below each other, with their steps at the left."""
    sheets = sorted((folder / "samples").glob("step-*.png"))
    if len(sheets) > 5 and step_of(sheets[-2]) > 0.99 * step_of(sheets[-1]):
        del sheets[-2]  # of the last interval, a moment before the end
    chosen = [sheets[round(i * (len(sheets) - 1) / 4)] for i in range(5)] if len(sheets) > 5 else sheets
    strips = []
    for path in chosen:
        with Image.open(path) as sheet:
            high = sheet.height * ROWS_OF_A_SHEET // rows_of_a_sheet
            strip = sheet.convert("RGB").crop((0, 0, sheet.width, high))
        scale = max(1, (MAX_WIDTH_PIXELS - CAPTION_PIXELS) // strip.width) if strip.height < 100 else 1
        strips.append(strip.resize((strip.width * scale, strip.height * scale), Image.Resampling.NEAREST))
    page = Image.new("RGB", (CAPTION_PIXELS + strips[0].width, sum(s.height + 8 for s in strips)), "white")
    draw, y = ImageDraw.Draw(page), 0
    for path, strip in zip(chosen, strips):
        page.paste(strip, (CAPTION_PIXELS, y))
        step = step_of(path)
        draw.text((4, y + strip.height // 2 - 8), f"step {step:,}", fill="black", font_size=16)
        y += strip.height + 8
    return page


def plots_along_training(folder: Path) -> Image.Image:
    """Four scatter plots side by side, with their steps above."""
    sheets = sorted((folder / "samples").glob("step-*.png"))
    chosen = [sheets[round(i * (len(sheets) - 1) / 3)] for i in range(4)]
    page = Image.new("RGB", (4 * 240, 262), "white")
    draw = ImageDraw.Draw(page)
    for i, path in enumerate(chosen):
        with Image.open(path) as sheet:
            page.paste(sheet.convert("RGB").resize((240, 240), Image.Resampling.LANCZOS), (240 * i, 22))
        step = step_of(path)
        draw.text((240 * i + 90, 2), f"step {step:,}", fill="black", font_size=15)
    return page


def main(folder: Path, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    environment = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    model, rows = load(folder), read_metrics(folder)
    kind, made = model.facts.kind, 64
    if kind == "clips":
        page, made = None, 10
    elif kind == "pictures":
        rows_of_a_sheet = 4 if max(model.facts.shape[1:]) > 32 else 8  # with prompts below the pictures, too
        page = along_training(folder, rows_of_a_sheet)
    else:
        page, made = plots_along_training(folder), 2000
    if page is not None:
        plots.save_png(page, PICTURES / f"{name}-training.png")
    with Image.open(folder / "loss.png") as curve:
        plots.save_png(curve.copy(), PICTURES / f"{name}-loss.png")
    label = "all" if model.classes else None
    samples = model.sample(made, label=label, seed=1_000_000)
    columns = 10 if len(model.classes) == 10 else 8
    image = (
        plots.sheet(
            samples.values[: 6 * columns], columns=columns, scale=2 if samples.values.shape[2] < 64 else 1
        )
        if samples.values.ndim == 4 and not model.facts.length
        else samples.sheet()
    )
    plots.save_png(image, PICTURES / f"{name}-samples.png", samples.settings)
    held_out = [row["val_loss"] for row in rows if "val_loss" in row]
    facts = {
        "parameters": f"{sum(p.numel() for p in model.denoiser.net.parameters()):,}",
        f"{kind} seen": f"{rows[-1]['images']:,} in {rows[-1]['step']:,} steps",
        "time": f"{rows[-1]['seconds'] / 60:.1f} minutes with {environment['threads']} thread(s), torch {environment['torch']}",
        "held-out loss": f"{held_out[-1]:.4f}" if held_out else "none",
        "sampling": f"{model.config.sample.sampler}, {model.config.sample.steps} steps, guidance {model.config.sample.guidance:g}",
    }
    print("| | |\n|---|---|")
    for key, value in facts.items():
        print(f"| {key} | {value} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
