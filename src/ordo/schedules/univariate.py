"""One schedule for all positions. The NELBO does not depend on which: all orders are equally probable.

Families as in the literature (linear, cosine, polynomial: Shi et al. 2406.04329; geometric, log-linear:
Lou et al. 2310.16834, Sahoo et al. 2406.07524). Those whose published form misses alpha(0)=1 or
alpha(1)=0 by a small epsilon are rescaled to meet it: otherwise the bound would lack the terms for the
tokens that are masked before 0 or not yet masked at 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ordo.order import PlackettLuce, uniform_law
from ordo.schedules.base import Schedule
from ordo.settings import Positive, Size, checked


class Univariate(Schedule):
    """Base of schedules equal at all positions; their order law is uniform."""

    def law(self) -> PlackettLuce:
        return uniform_law(self.length, self._where.device)


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


class LogLinear(Univariate):
    """alpha = exp(-sigma(t)), sigma(t) = -log(1 - t): the log-linear noise of SEDD and MDLM at epsilon = 0.

    The same alpha as ``Linear`` (a test says so), through the total noise sigma as those papers write it.
    """

    def sigma(self, t: Tensor) -> Tensor:
        """Total noise (batch, length), infinite at t = 1."""
        return -torch.log1p(-self.spread(t))

    def alpha(self, t: Tensor) -> Tensor:
        return (-self.sigma(t)).exp()

    def alpha_prime(self, t: Tensor) -> Tensor:
        return -torch.ones_like(self.spread(t))

    def rate(self, t: Tensor) -> Tensor:
        return -1.0 / torch.expm1(-self.sigma(t))

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
    """alpha = exp(-sigma(t)), sigma(t) = sigma_min^(1-t) sigma_max^t, rescaled to run from 1 to 0."""

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
