"""Schedule networks: where the numbers of a per-position schedule come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ordo.settings import NonNegative, Size, Some, checked


@checked
class FreeTable(nn.Module):
    """One free number per position, zero at the start: forward() -> (length,) float32.

    ``init_std`` draws the start from a normal instead. ``init_slope``: besides, numbers fall by
    that much from one position to the next, so that an order law with these log w begins near left
    to right, or with a negative one near right to left: of many adjacent positions the first comes
    next with probability 1 - exp(-init_slope), before the bound and the floor of a schedule.
    """

    def __init__(self, length: Size, init_std: NonNegative = 0.0, init_slope: float = 0.0):
        super().__init__()
        self.table = nn.Parameter(
            init_std * torch.randn(length) - init_slope * torch.arange(length)
        )

    def forward(self) -> Tensor:
        return self.table


@checked
class PositionNetwork(nn.Module):
    """A linear map of position features, so that positions share parameters: forward() -> (length,)
    float32.

    Features of u in [-1, 1]: sqrt(3) u and sqrt(2) cos(pi k (u + 1) / 2) / k^decay for k =
    1..cosines. Text favours no position but has a direction; a free table cannot see it (every
    entry's gradient is near 0 at the uniform law), a shared slope can. ``decay`` lets smooth laws
    move faster than rough ones under Adam, which gives every coefficient the same step.
    Coefficients start at ``init_std``: near the uniform law, off its saddle point.
    """

    features: Tensor

    def __init__(
        self,
        length: Size,
        cosines: Some = 8,
        decay: NonNegative = 2.0,
        init_std: NonNegative = 0.05,
    ):
        super().__init__()
        u = (
            torch.linspace(-1.0, 1.0, length, dtype=torch.float64)
            if length > 1
            else torch.zeros(1, dtype=torch.float64)
        )
        waves = [
            math.sqrt(2) * torch.cos(math.pi * k * (u + 1) / 2) / k**decay
            for k in range(1, cosines + 1)
        ]
        self.register_buffer(
            "features", torch.stack([math.sqrt(3) * u, *waves], dim=1).float(), persistent=False
        )
        self.coefficients = nn.Parameter(init_std * torch.randn(1 + cosines))

    def forward(self) -> Tensor:
        # Not a matrix product: autocast would round it to bfloat16, and a sharp law with it.
        return (self.features * self.coefficients).sum(-1)
