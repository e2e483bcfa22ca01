"""Schedules of orders that are not learned: uniform ones, and one given order.

One schedule for all positions makes all orders equally probable, and the NELBO does not depend on
which schedule that is. Families as in the literature (linear, cosine, polynomial: Shi et al.
2406.04329; geometric: Lou et al. 2310.16834; the log-linear noise of SEDD and MDLM is ``Linear``).
Families whose published form misses alpha(0)=1 or alpha(1)=0 by a small epsilon are rescaled:
otherwise the bound would lack the terms for tokens masked before 0 or not yet masked at 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.order import FixedOrder, PlackettLuce, uniform_law
from ordo.schedules.base import Schedule
from ordo.settings import Positive, Size, Whole, checked


class Univariate(Schedule):
    """Base of schedules equal at all positions; their order law is uniform."""

    def law(self, batch: Batch | Tensor | None = None) -> PlackettLuce:
        return uniform_law(self.length, self.device)


class Linear(Univariate):
    """alpha = 1 - t. MDLM, MDM and AO-ARM with any-order training are this schedule."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.spread(t)

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -torch.ones_like(self.spread(t))

    def rate(self, t: Tensor) -> Tensor:
        return 1.0 / self.spread(t)

    def inverse(self, u: Tensor) -> Tensor:
        return self.spread(u)


class Cosine(Univariate):
    """alpha = 1 - cos(pi/2 (1 - t)) = 1 - sin(pi t / 2): few tokens a step at first, many later."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - torch.sin(math.pi / 2 * self.spread(t))

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * torch.cos(math.pi / 2 * self.spread(t))

    def rate(self, t: Tensor) -> Tensor:
        return math.pi / 2 / torch.tan(math.pi / 2 * self.spread(t))

    def inverse(self, u: Tensor) -> Tensor:
        return torch.asin(self.spread(u)) * 2 / math.pi


@checked
class Polynomial(Univariate):
    """alpha = 1 - t^power, power > 0."""

    def __init__(self, length: Size, power: Positive = 2.0):
        super().__init__(length)
        self.power = power

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.spread(t) ** self.power

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -self.power * self.spread(t) ** (self.power - 1)

    def rate(self, t: Tensor) -> Tensor:
        return self.power / self.spread(t)

    def inverse(self, u: Tensor) -> Tensor:
        return self.spread(u) ** (1.0 / self.power)


@checked
class Geometric(Univariate):
    """alpha = exp(-sigma(t)), sigma(t) = sigma_min^(1-t) sigma_max^t, rescaled to span 1 to 0."""

    def __init__(self, length: Size, sigma_min: Positive = 1e-5, sigma_max: Positive = 20.0):
        super().__init__(length)
        if not sigma_min < sigma_max:
            raise ValueError(f"need sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
        self.sigma_min, self.ratio = sigma_min, math.log(sigma_max / sigma_min)
        self.start, self.end = math.exp(-sigma_min), math.exp(-sigma_max)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.ratio * self.spread(t)).exp()

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self._masked(t)

    def _masked(self, t: Tensor) -> Tensor:
        """1 - alpha without cancellation near t = 0."""
        rise = self.sigma_min * torch.expm1(self.ratio * self.spread(t))  # sigma(t) - sigma(0)
        return self.start * -torch.expm1(-rise) / (self.start - self.end)

    def alpha_prime(self, t: Tensor) -> Tensor:
        sigma = self.sigma(t)
        return -self.ratio * sigma * (-sigma).exp() / (self.start - self.end)

    def rate(self, t: Tensor) -> Tensor:
        return -self.alpha_prime(t) / self._masked(t)

    def inverse(self, u: Tensor) -> Tensor:
        rise = -torch.log1p(-self.spread(u) * (self.start - self.end) / self.start)
        return torch.log1p(rise / self.sigma_min) / self.ratio


@checked
class GivenOrder(Schedule):
    """The token of rank i (of length) is masked linearly while t runs through [1 - (i+1)/length, 1
    - i/length].

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

    def law(self, batch: Batch | Tensor | None = None) -> FixedOrder:
        return FixedOrder(self.order)
