"""Denoisers that are exact: E[x0 | x] in closed form. The truth that samplers and networks are measured against."""

import math

import torch
from torch import Tensor

from mezzotint.diffusion.denoiser import NO_COND, Cond
from mezzotint.diffusion.process import Process


class Mixture:
    """The exact denoiser of a mixture of Gaussians, and its density under noise.

    With x = alpha x0 + sigma eps, component k is N(alpha m_k, S_k), S_k = alpha^2 C_k + sigma^2 I, its posterior
    r_k ~ w_k N(x; alpha m_k, S_k), and E[x0 | x] = sum_k r_k (m_k + alpha C_k S_k^-1 (x - alpha m_k)).

    weights: (K,); means: (K, d); covariances: (K, d, d); all float64. Pictures are flattened to d numbers.
    """

    def __init__(self, process: Process, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.process, self.weights, self.means, self.covariances = process, weights, means, covariances

    def _at(self, x: Tensor, logsnr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha (B,1,1), x - alpha m (B,K,d), S^-1 (x - alpha m) (B,K,d), log(w_k N(x; alpha m_k, S_k)) (B,K)."""
        alpha, sigma = (c.expand(len(x))[:, None, None] for c in self.process(logsnr))
        away = x.flatten(1)[:, None] - alpha * self.means
        eye = torch.eye(self.means.shape[1], dtype=self.means.dtype)
        root = torch.linalg.cholesky(alpha[..., None] ** 2 * self.covariances + sigma[..., None] ** 2 * eye)
        solved = torch.cholesky_solve(away[..., None], root)[..., 0]
        log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        d = self.means.shape[1]
        log_normal = -0.5 * ((away * solved).sum(-1) + log_det + d * math.log(2 * math.pi))
        return alpha, away, solved, self.weights.log() + log_normal

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND) -> Tensor:
        """E[x0 | x] (B, *D). x: (B, *D) float64; logsnr: (B,) or 0-d."""
        alpha, _, solved, log_joint = self._at(x, logsnr)
        each = self.means + alpha * (self.covariances @ solved[..., None])[..., 0]
        return (log_joint.softmax(1)[..., None] * each).sum(1).reshape(x.shape)

    def log_prob(self, x: Tensor, logsnr: Tensor) -> Tensor:
        """log density of x at the level, in nats, (B,)."""
        return self._at(x, logsnr)[-1].logsumexp(1)
