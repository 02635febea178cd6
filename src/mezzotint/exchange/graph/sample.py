"""Makes things by onnxruntime and numpy alone: python sample.py [-n 4] [--seed 0] [--label 7] [--prompt TEXT] [--negative TEXT]

The same seed is the same thing as that of `mezzotint sample`, up to rounding: made.npy, and made.pgm or made.ppm to look at.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).parent


def uniform(seeds: np.ndarray, step: int, draw: int, count: int) -> np.ndarray:
    """Numbers in (0, 1), (n, count), of seeds (n,) uint64, by splitmix64."""
    golden = np.uint64(0x9E3779B97F4A7C15)

    def mix(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    key = mix(mix(mix(seeds + golden) + np.uint64(step) + golden) + np.uint64(draw % 2**64) + golden)
    bits = mix(key[:, None] + np.arange(1, count + 1, dtype=np.uint64) * golden)
    return ((bits >> np.uint64(12)) + 0.5) * 2.0**-52


def normal(seeds: np.ndarray, step: int, draw: int, shape: list[int]) -> np.ndarray:
    """Standard normal noise (n, *shape) float32, by Box and Muller."""
    size = int(np.prod(shape))
    u, turn = np.split(uniform(seeds, step, draw, size + size % 2), 2, axis=1)
    wave = np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * turn)
    return np.hstack([wave.real, wave.imag])[:, :size].astype(np.float32).reshape(-1, *shape)


def numbers(text: str, table: Any) -> list[int]:
    """What stands for a text: 1, its words or its bytes from 2 on, zeros."""
    found = list(" ".join(text.casefold().split()).encode())
    if table["reading"] == "words":
        said = [word for word in re.findall(r"\w+|[^\w\s]", text.casefold()) if word not in ".,"]
        found = [table["words"].index(word) for word in said]  # ValueError: the model does not know it
    return [1, *(number + 2 for number in found), *[0] * (table["length"] - 1 - len(found))]


def told(table: Any, seeds: np.ndarray, label: Any = None, prompt: Any = None, negative: str = "") -> Any:
    """What is asked, by default a class drawn from each seed and one of the examples; and what guidance drives away from."""
    away = {name: np.array([nothing] * len(seeds)) for name, nothing in table["nothing"].items()}
    asked = {name: column.copy() for name, column in away.items()}
    if "label" in asked:
        drawn = np.array(table["drawn"])[(uniform(seeds, 0, -1, 1)[:, 0] * len(table["drawn"])).astype(int)]
        asked["label"][:] = drawn if label is None else label
    if "text" in asked:
        prompts = table["examples"] if prompt is None else [prompt]
        asked["text"][:] = [numbers(prompts[seed % len(prompts)], table) for seed in seeds.tolist()]
        away["text"][:] = numbers(negative, table)
    return asked, away


def sample(session: Any, table: Any, seeds: np.ndarray, asked: Any, away: Any) -> Any:
    """Codes (n, *shape) of seeds (n,) uint64."""

    def belief(x: Any, at: Any, given: Any) -> Any:
        given = given | {
            key: np.full(len(x), at[key], np.float32) for key in ("c_noise", "span") if key in at
        }
        return at["c_skip"] * x + at["c_out"] * session.run(None, {"x": at["c_in"] * x, **given})[0]

    known = [normal(seeds, 0, 0, table["shape"])]
    for move in table["moves"]:
        if "draw" in move:
            step, draw = move["draw"]
            known.append(normal(seeds, step, draw, table["shape"]))
            continue
        x = sum(share * each for share, each in zip(move["x"], known))
        x0 = belief(x, move, asked)
        if move["guidance"] != 1:
            other = belief(x, move, away)
            x0 = other + move["guidance"] * (x0 - other)
        known.append(x0.clip(-1, 1) if table["clip"] else x0)
    return sum(share * each for share, each in zip(table["result"], known))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in {"-n": 4, "--seed": 0, "--label": None, "--prompt": None, "--negative": ""}.items():
        parser.add_argument(name, type=str if name in ("--prompt", "--negative") else int, default=usual)
    given = parser.parse_args()
    table = json.loads((HERE / "sampler.json").read_text(encoding="utf-8"))
    seeds = np.arange(given.n, dtype=np.uint64) + np.uint64(given.seed)
    asked, away = told(table, seeds, given.label, given.prompt, given.negative)
    made = sample(onnxruntime.InferenceSession(HERE / "denoiser.onnx"), table, seeds, asked, away)
    if (HERE / "decoder.onnx").exists():
        made = onnxruntime.InferenceSession(HERE / "decoder.onnx").run(None, {"z": made})[0]
    np.save(HERE / "made.npy", made)
    if made.ndim > 2:  # side by side, the frames of clips below each other
        rows = made.reshape(*made.shape[:2], -1, made.shape[-1]).transpose(2, 0, 3, 1)
        kind, name = ("P5", "made.pgm") if rows.shape[3] == 1 else ("P6", "made.ppm")
        head = f"{kind} {rows.shape[1] * rows.shape[2]} {rows.shape[0]} 255\n"
        pixels = np.rint((rows.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        (HERE / name).write_bytes(head.encode() + pixels.tobytes())


if __name__ == "__main__":
    main()
