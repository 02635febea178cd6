"""Writes docs/agreement.json: how far every trajectory of tests/diffusion/test_trajectories.py is from the recorded one.

Not a test itself; run it beside ../shared/golden, in the repository:
PYTHONPATH=src:tests:tests/diffusion python tests/helpers_agreement.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from test_trajectories import (
    RUNS,
    WHY_NOT,
    recorded_runs,
    test_trajectory_equals_the_public_implementation,
)
from torch import Tensor

NAMES = {
    "samplers_diffusers": "diffusers 0.42.1",
    "samplers_guided": "guided-diffusion",
    "samplers_kdiffusion": "k-diffusion",
    "samplers_edm": "EDM",
    "samplers_flow": "flow_matching",
    "networks": "diffusers 0.42.1, guided",
}


class Largest:
    """A tolerance that lets everything pass and remembers the largest."""

    value = 0.0

    def __gt__(self, error: Tensor) -> bool:
        self.value = max(self.value, float(error))
        return True


def rows() -> list[dict[str, Any]]:
    found = []
    for run in sorted(RUNS, key=lambda run: list(NAMES).index(run.file)):
        largest: Any = Largest()
        test_trajectory_equals_the_public_implementation(replace(run, tolerance=largest))
        found.append(
            {
                "implementation": NAMES[run.file],
                "run": run.name,
                "sampler": run.sampler,
                "difference": float(f"{largest.value:.1e}"),
            }
        )
    compared = {(run.file, run.name) for run in RUNS}
    for file, name in sorted(recorded_runs() - compared, key=lambda key: (list(NAMES).index(key[0]), key[1])):
        why = next(reason for pattern, reason in WHY_NOT.items() if re.fullmatch(pattern, name))
        found.append({"implementation": NAMES[file], "run": name, "why_not": why})
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(__file__).resolve().parents[1] / "docs" / "agreement.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows()) + "\n]\n", encoding="utf-8")
    print(f"wrote {path}")
