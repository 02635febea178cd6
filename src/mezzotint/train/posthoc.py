"""An average of any length after training, from snapshots of two (Karras et al. 2024, "EDM2", section 3.2).

Every snapshot is a known profile over the steps of training. The wanted profile is their best combination in the sense
of least squares; the same combination of the snapshots' weights is, very nearly, the average that was never tracked.
"""

from collections.abc import Sequence

import numpy as np

from mezzotint.train.ema import gamma_of


def overlap(t_a: np.ndarray, gamma_a: np.ndarray, t_b: np.ndarray, gamma_b: np.ndarray) -> np.ndarray:
    """The inner product of two profiles that end at t_a and t_b (EDM2, appendix C.3).

    p_a(tau) = (gamma_a + 1) tau^gamma_a / t_a^(gamma_a + 1) on [0, t_a]. With t the earlier end, the integral of
    p_a p_b is (gamma_a + 1)(gamma_b + 1) t^(gamma_a + gamma_b + 1) / ((gamma_a + gamma_b + 1) t_a^.. t_b^..).
    """
    later = np.maximum(t_a, t_b)
    power = np.where(t_a < t_b, gamma_b, -gamma_a)
    return (gamma_a + 1) * (gamma_b + 1) * (t_a / t_b) ** power / ((gamma_a + gamma_b + 1) * later)


def coefficients(steps: Sequence[float], lengths: Sequence[float], step: float, length: float) -> np.ndarray:
    """How much of each snapshot makes the average of `length` at `step`: (N,) float64 (EDM2, algorithm 3).

    steps, lengths: of the N snapshots, no pair twice. They are scaled to sum to 1, so that weights which never moved
    come out as they are; single ones may be large or negative.
    """
    t = np.asarray(steps, dtype=np.float64)
    gamma = np.array([gamma_of(each) for each in lengths])
    wanted_t, wanted_gamma = np.array(float(step)), np.array(gamma_of(length))
    among = overlap(t[:, None], gamma[:, None], t[None, :], gamma[None, :])
    with_wanted = overlap(t, gamma, wanted_t, wanted_gamma)
    solution = np.linalg.solve(among, with_wanted)
    return np.asarray(solution / solution.sum())
