"""Things from denoiser.onnx: python sample.py [-n 4] [--seed 0] [--label 7]. Needs onnxruntime and numpy, and nothing else.

The same seed is the same thing as that of `mezzotint sample`, up to rounding.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).parent
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seeds: np.ndarray, step: int, draw: int, count: int) -> np.ndarray:
    """Numbers in (0, 1), (n, count), of seeds (n,) uint64, by splitmix64."""
    key = mix(seeds + GOLDEN)
    for part in (step, draw):
        key = mix(key + np.uint64(part % 2**64) + GOLDEN)
    bits = mix(key[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN)
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(seeds: np.ndarray, step: int, draw: int, shape: list[int]) -> np.ndarray:
    """Standard normal noise (n, *shape), by Box and Muller."""
    size = math.prod(shape)
    u, angle = np.split(uniform(seeds, step, draw, 2 * ((size + 1) // 2)), 2, axis=1)
    radius, turn = np.sqrt(-2 * np.log(u)), 2 * np.pi * angle
    pair = np.concatenate([radius * np.cos(turn), radius * np.sin(turn)], axis=1)
    return pair[:, :size].astype(np.float32).reshape(-1, *shape)


def combined(coefficients: list[float], known: list[np.ndarray]) -> Any:
    return sum(np.float32(c) * each for c, each in zip(coefficients, known))


def sample(session: Any, table: dict[str, Any], seeds: np.ndarray, label: Any = None) -> np.ndarray:
    """Codes (n, *shape) of seeds (n,) uint64 and classes label (n,) int64, None without classes."""

    def believed(x: np.ndarray, label: Any, at: dict[str, Any]) -> Any:
        given = {"x": np.float32(at["c_in"]) * x, "c_noise": np.full(len(x), at["c_noise"], np.float32)}
        given |= {"label": label} if label is not None else {}
        given |= {"span": np.full(len(x), at["span"], np.float32)} if "span" in at else {}
        return np.float32(at["c_skip"]) * x + np.float32(at["c_out"]) * session.run(None, given)[0]

    known = [normal(seeds, 0, 0, table["shape"])]
    for move in table["moves"]:
        if "draw" in move:
            step, draw = move["draw"]
            known.append(normal(seeds, step, draw, table["shape"]))
            continue
        x = combined(move["x"], known)
        x0 = believed(x, label, move)
        if move["guidance"] != 1:
            none = believed(x, np.full_like(label, len(table["classes"])), move)
            x0 = none + np.float32(move["guidance"]) * (x0 - none)
        known.append(np.clip(x0, -1, 1) if table["clip"] else x0)
    return combined(table["result"], known)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", type=int, help="number of a class; by default one drawn from each seed")
    asked = parser.parse_args()
    table = json.loads((HERE / "sampler.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(HERE / "denoiser.onnx", providers=["CPUExecutionProvider"])
    seeds = np.arange(asked.n, dtype=np.uint64) + np.uint64(asked.seed)
    label = None
    if table["classes"]:
        drawn = np.array(table["drawn"], np.int64)
        label = drawn[(uniform(seeds, 0, -1, 1)[:, 0] * len(drawn)).astype(np.int64)]
        label = label if asked.label is None else np.full_like(label, asked.label)
    made = sample(session, table, seeds, label)
    np.save(HERE / "made.npy", made)
    if made.ndim == 4:  # pictures: beside each other, as a file that most viewers open
        pixels = np.rint((made.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(2, 0, 3, 1)
        kind, (height, n, width, channels) = ("P5" if pixels.shape[3] == 1 else "P6"), pixels.shape
        name = "made.pgm" if channels == 1 else "made.ppm"
        (HERE / name).write_bytes(f"{kind} {n * width} {height} 255\n".encode() + pixels.tobytes())


if __name__ == "__main__":
    main()
