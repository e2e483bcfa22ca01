"""A second multivariate family: 1 - alpha_l is a Kumaraswamy distribution function."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ordo.schedules.base import Schedule
from ordo.schedules.bounds import bounded
from ordo.settings import Positive, Size, checked


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x), x <= 0, accurate at both ends (Maechler 2012)."""
    near = x > -math.log(2)
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, x))),
    )


@checked
class Kumaraswamy(Schedule):
    """alpha_l(t) = (1 - t^{a_l})^{b_l}; b = 1 is the power family (Kumaraswamy 1980).

    Args:
        length: positions.
        log_a, log_b: modules whose forward() gives (length,).
        bound: ``|log a| <= bound``, by a tanh.
        bound_b: ``|log b| <= bound_b``, by a tanh. At log b = -2 one arrival time in 150 rounds to
            1 in float64 already, and ties have no order.

    Its order law has no closed form (``ArrivalTimes``): it trains with the time-space and the dense
    objective.
    """

    def __init__(
        self,
        length: Size,
        log_a: nn.Module,
        log_b: nn.Module,
        bound: Positive = 4.0,
        bound_b: Positive = 1.0,
    ):
        super().__init__(length)
        self.log_a, self.log_b, self.bound, self.bound_b = log_a, log_b, bound, bound_b

    def shape(self) -> tuple[Tensor, Tensor]:
        """a and b, each (length,) float64."""
        log_a = bounded(self.log_a().double(), self.bound)
        log_b = bounded(self.log_b().double(), self.bound_b)
        return log_a.exp(), log_b.exp()

    def log_mask_prob(self, t: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.shape()
        log_power = a * self.spread(t).log()
        log_clean = b * log1mexp(log_power)
        small = log_power < -37.0  # t^a < 1e-16: 1 - (1 - t^a)^b = b t^a to the last digit
        exact = log1mexp(torch.where(small, -1.0, log_clean))
        return torch.where(small, b.log() + log_power, exact), log_clean

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_mask_prob(t)[1].exp()

    def log_slope(self, t: Tensor) -> Tensor:
        a, b = self.shape()
        log_t = self.spread(t).log()
        return a.log() + b.log() + (a - 1) * log_t + (b - 1) * log1mexp(a * log_t)

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -self.log_slope(t).exp()

    def rate(self, t: Tensor) -> Tensor:
        return (self.log_slope(t) - self.log_mask_prob(t)[0]).exp()

    def inverse(self, u: Tensor) -> Tensor:
        a, b = self.shape()
        return (log1mexp(torch.log1p(-self.spread(u)) / b) / a).exp()
