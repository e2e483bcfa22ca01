"""A given decoding order as a noise schedule: one position's noise after the other's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ordo.order import FixedOrder
from ordo.schedules.base import Schedule
from ordo.settings import Size, Whole, checked


@checked
class GivenOrder(Schedule):
    """The token of rank i (of length) is masked linearly while t runs through [1 - (i+1)/length, 1 - i/length].

    So tokens are decoded in exactly this order, with certainty.

    Args: order: "left_to_right", "right_to_left", or the positions in decoding order.
    """

    order: Tensor

    def __init__(
        self,
        length: Size,
        order: Literal["left_to_right", "right_to_left"] | Sequence[Whole] = "left_to_right",
    ):
        super().__init__(length)
        named = {"left_to_right": range(length), "right_to_left": range(length - 1, -1, -1)}
        positions = torch.tensor(
            list(named[order] if isinstance(order, str) else order), dtype=torch.int64
        )
        if positions.numel() != length:
            raise ValueError(f"order names {positions.numel()} positions, the length is {length}")
        self.register_buffer("order", FixedOrder(positions).order)

    def start(self) -> Tensor:
        """The time at which each position's noise begins, (length,)."""
        return 1.0 - (self.order.argsort().double() + 1.0) / self.length

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - ((self.spread(t) - self.start()) * self.length).clamp(0.0, 1.0)

    def alpha_prime(self, t: Tensor) -> Tensor:
        since = self.spread(t) - self.start()
        inside = (since > 0) & (since <= 1.0 / self.length)
        return torch.where(inside, -float(self.length), 0.0).double()

    def rate(self, t: Tensor) -> Tensor:
        since = self.spread(t) - self.start()
        inside = (since > 0) & (since <= 1.0 / self.length)
        return torch.where(inside, 1.0 / since.clamp(min=1e-300), 0.0)

    def log_mask_prob(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.alpha(t)  # exactly 0 or 1 for all but one position, and nothing here learns
        return torch.log1p(-alpha), alpha.log()

    def inverse(self, u: Tensor) -> Tensor:
        return self.start() + self.spread(u) / self.length

    def law(self) -> FixedOrder:
        return FixedOrder(self.order)
