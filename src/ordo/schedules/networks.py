"""Schedule networks: where the numbers of a per-position schedule come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def check_scale(scale: float) -> None:
    """Numbers are ``scale`` times the parameters: under Adam they move that much faster than the learning rate says, as numbers of
    positions must beside networks of tokens, which want a small one. Gradients are ``scale`` times as large too, and ``schedule_clip``
    goes by one norm for all of a schedule. Raises ValueError unless it is positive.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")


class FreeTable(nn.Module):
    """One free number per position, zero at the start: forward() -> (length,) float32.

    ``init_std`` draws the start from a normal instead. ``scale``: see ``check_scale``.
    """

    def __init__(self, length: int, init_std: float = 0.0, scale: float = 1.0):
        super().__init__()
        check_scale(scale)
        self.scale = scale
        self.table = nn.Parameter(init_std / scale * torch.randn(length))

    def forward(self) -> Tensor:
        return self.scale * self.table


class PositionNetwork(nn.Module):
    """A linear map of position features, so that positions share parameters: forward() -> (length,) float32.

    Features of u in [-1, 1]: sqrt(3) u and sqrt(2) cos(pi k (u + 1) / 2) / k^decay for k = 1..cosines. Text favours no
    position but has a direction; a free table cannot see it (every entry's gradient is near 0 at the uniform
    law), a shared slope can. ``decay`` lets smooth laws move faster than rough ones under Adam, which gives every
    coefficient the same step. Coefficients start at ``init_std``: near the uniform law, off its saddle point. ``scale``: see
    ``check_scale``.
    """

    features: Tensor

    def __init__(self, length: int, cosines: int = 8, decay: float = 2.0, init_std: float = 0.05, scale: float = 1.0):
        super().__init__()
        check_scale(scale)
        self.scale = scale
        u = torch.linspace(-1.0, 1.0, length, dtype=torch.float64) if length > 1 else torch.zeros(1, dtype=torch.float64)
        waves = [math.sqrt(2) * torch.cos(math.pi * k * (u + 1) / 2) / k**decay for k in range(1, cosines + 1)]
        self.register_buffer("features", torch.stack([math.sqrt(3) * u, *waves], dim=1).float(), persistent=False)
        self.coefficients = nn.Parameter(init_std / scale * torch.randn(1 + cosines))

    def forward(self) -> Tensor:
        # Not a matrix product: autocast would round it to bfloat16, and a sharp law with it.
        return self.scale * (self.features * self.coefficients).sum(-1)
