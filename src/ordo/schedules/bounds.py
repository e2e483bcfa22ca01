"""What keeps the log weights of an order law within bounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.settings import Positive, checked


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    """Numbers within +-bound, by bound * tanh(raw / bound); None: the numbers as they are."""
    return raw if bound is None else bound * torch.tanh(raw / bound)


def with_floor(log_w: Tensor, floor: float, present: Tensor | None = None) -> Tensor:
    """Log weights under which no choice, however late, becomes improbable beyond a stated share.

    The result is log((1 - floor) w / mean(w) + floor), the mean over positions that are no padding.
    The n weights then add up to n, and each is at least ``floor``: whatever is revealed, every
    masked position comes next with probability at least floor / n. floor = 0 leaves log_w as it is.

    Args:
        log_w: (..., length) float64.
        present: (..., length) bool, False where padding; None: there is no padding.
    """
    if floor == 0:
        return log_w
    if present is None:
        return torch.log((1 - floor) * log_w.softmax(-1) * log_w.shape[-1] + floor)
    n = present.sum(-1, keepdim=True)
    share = log_w.masked_fill(~present & (n > 0), -torch.inf).softmax(-1)
    return torch.log((1 - floor) * share * n + floor)


@checked
class LogBound(nn.Module):
    """``|log w| <= bound`` by a tanh; None: no bound. To be called as ``NormSig`` is."""

    def __init__(self, bound: Positive | None = None):
        super().__init__()
        self.bound = bound

    def forward(self, raw: Tensor, present: Tensor | None = None) -> Tensor:
        return bounded(raw, self.bound)


@checked
class NormSig(nn.Module):
    """w = c1 + c2 (sigmoid(v) - mean of the sigmoids), within c1 +- c2 and with mean c1 (LoMDM,
    2602.02112).

    The call takes raw numbers (n, length) float64 and present (n, length) bool, False where
    padding, or None, and gives log w (n, length) float64. Raises ValueError unless 0 < c2 < c1.
    """

    def __init__(self, c1: Positive = 0.7, c2: Positive = 0.65):
        super().__init__()
        if not c2 < c1:
            raise ValueError(f"need c2 < c1, so that every w is positive, got c1={c1} and c2={c2}")
        self.c1, self.c2 = c1, c2

    def forward(self, raw: Tensor, present: Tensor | None = None) -> Tensor:
        share = raw.sigmoid()
        if present is None:
            return (self.c1 + self.c2 * (share - share.mean(-1, keepdim=True))).log()
        total = torch.where(present, share, 0.0).sum(-1, keepdim=True)
        w = self.c1 + self.c2 * (share - total / present.sum(-1, keepdim=True).clamp(min=1))
        # Padding is not in the mean and could leave the interval.
        return torch.where(present, w, self.c1).log()
