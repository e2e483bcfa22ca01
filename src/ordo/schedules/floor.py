"""A floor under an order law: no choice, however late, may become improbable beyond a stated share of a uniform one."""

from __future__ import annotations

import torch
from torch import Tensor


def with_floor(log_w: Tensor, floor: float, present: Tensor | None = None) -> Tensor:
    """log((1 - floor) w / mean(w) + floor) of log_w (..., length), float64; the mean over the positions there are, present (..., length).

    Weights then add up to their number n, and each is at least ``floor``: whatever is revealed, every masked position comes next with
    probability at least floor / n, which is the floor's share of a uniform first choice. floor = 0 leaves log_w as it is.
    """
    if floor == 0:
        return log_w
    if present is None:
        return torch.log((1 - floor) * log_w.softmax(-1) * log_w.shape[-1] + floor)
    n = present.sum(-1, keepdim=True)
    share = log_w.masked_fill(~present & (n > 0), -torch.inf).softmax(-1)
    return torch.log((1 - floor) * share * n + floor)
