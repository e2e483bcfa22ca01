"""What objectives remember from earlier steps: a running regression, and token frequencies.

A baseline may use nothing that the draws of the same step influence. So coefficients are those of
the steps before, and a step's own values enter after they have been used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.objectives.base import mean_over_ranks, n_ranks

DECAY = 0.95  # of running moments


class RunningRegression(nn.Module):
    """Least squares of y on features, of the means of earlier steps, for ``slots`` numbers apart.

    Moments of y and features decay alike, so their ratio needs no correction for the start.

    Args:
        slots: regressions side by side, such as one for every rank.
        features: of each; the first is a constant if ``constant``, and is not shrunk.
        ridge: relative to each feature's mean square.
    """

    second: Tensor
    cross: Tensor

    def __init__(self, slots: int, features: int, ridge: float, constant: bool = True):
        super().__init__()
        self.decay, self.ridge, self.constant = DECAY, ridge, constant
        zeros = torch.zeros(slots, features, features, dtype=torch.float64)
        self.register_buffer("second", zeros)
        self.register_buffer("cross", torch.zeros(slots, features, dtype=torch.float64))

    @property
    def begun(self) -> Tensor:
        """Whether there has been a step: a bool scalar on the device, which nobody waits for."""
        return self.second.diagonal(dim1=-2, dim2=-1).sum() > 0

    @torch.no_grad()
    def forward(self, y: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """What earlier steps leave of y, and the coefficients; learns from this step in training
        mode.

        Args:
            y: (..., slots).
            features: (..., slots, features).

        Returns the residual (..., slots) and the coefficients (slots, features).
        """
        ridge = self.ridge * self.second.diagonal(dim1=-2, dim2=-1) + 1e-12
        if self.constant:
            ridge = torch.cat([torch.full_like(ridge[:, :1], 1e-12), ridge[:, 1:]], -1)
        # solve_ex does not look at the result, for which a GPU would be waited.
        beta = torch.linalg.solve_ex(self.second + torch.diag_embed(ridge), self.cross)[0]
        residual = y - (features * beta).sum(-1)
        if self.training:
            flat, to = features.flatten(0, -3), y.flatten(0, -2)
            moments = torch.einsum("nsi,nsj->sij", flat, flat)
            second, cross = mean_over_ranks(
                moments / len(flat), torch.einsum("nsi,ns->si", flat, to) / len(flat)
            )
            self.second += (1 - self.decay) * (second - self.second)
            self.cross += (1 - self.decay) * (cross - self.cross)
        return residual, beta


class Frequencies(nn.Module):
    """Counts of tokens at every position, over all steps and ranks.

    Raises ValueError without a vocabulary.
    """

    counts: Tensor

    def __init__(self, length: int, vocab_size: int | None):
        super().__init__()
        if vocab_size is None:
            raise ValueError("unigram=true counts tokens: give vocab_size")
        self.register_buffer("counts", torch.zeros(length, vocab_size, dtype=torch.float64))

    @torch.no_grad()
    def surprise_then_count(self, batch: Batch) -> Tensor:
        """-log of the counted frequency of each token at its position, nats: (n, length), 0 where
        not decoded.

        Counts are smoothed by one. Tokens of this step are counted afterwards, in training mode.
        """
        decoded = batch.decoded
        p = (self.counts + 1) / (self.counts.sum(-1, keepdim=True) + self.counts.shape[1])
        out = -p.log().gather(1, batch.tokens.T).T * decoded
        if self.training:
            seen = decoded.T.to(self.counts.dtype)
            seen = torch.zeros_like(self.counts).scatter_add_(1, batch.tokens.T, seen)
            (seen,) = mean_over_ranks(seen)
            self.counts += seen * n_ranks()
        return out
