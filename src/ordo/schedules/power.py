"""The paper's learnable schedule: alpha_l(t) = 1 - t^{w_l}."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.order import PlackettLuce
from ordo.schedules.base import Schedule
from ordo.schedules.bounds import bounded, with_floor
from ordo.settings import BelowOne, Positive, Size, checked


@checked
class Power(Schedule):
    """alpha_l(t) = 1 - t^{w_l}, hazard w_l / t; its order law is Plackett-Luce(w) (2511.19152,
    section 4).

    Args:
        length: positions.
        network: module whose forward() gives log w as (length,): FreeTable or PositionNetwork.
        bound: ``|log w| <= bound`` after centring, by bound * tanh(. / bound); None leaves it free.
        floor: every next choice keeps this share of a uniform first one's probability at least,
            floor / length, see ``with_floor``; the mean of w is then 1. 0: no floor.
    """

    def __init__(
        self, length: Size, network: nn.Module, bound: Positive | None = None, floor: BelowOne = 0.0
    ):
        super().__init__(length)
        self.network, self.bound, self.floor = network, bound, floor

    def log_w(self) -> Tensor:
        """(length,) float64 with mean 0 (before bound and floor): NELBO(c w) = NELBO(w), so the
        scale is fixed.
        """
        raw = self.network().double()
        if raw.shape != (self.length,):
            raise ValueError(
                f"the schedule network gave shape {tuple(raw.shape)} for length {self.length}"
            )
        raw = raw - raw.mean()
        return with_floor(bounded(raw, self.bound), self.floor)

    def law(self, batch: Batch | Tensor | None = None) -> PlackettLuce:
        return PlackettLuce(self.log_w())

    def log_mask_prob(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_masked = self.log_w().exp() * self.spread(t).log()
        return log_masked, torch.log(-torch.expm1(log_masked))

    def alpha(self, t: Tensor) -> Tensor:
        return -torch.expm1(self.log_mask_prob(t)[0])

    def alpha_prime(self, t: Tensor) -> Tensor:
        t = self.spread(t)
        return -(self.log_w() + (self.log_w().exp() - 1.0) * t.log()).exp()

    def rate(self, t: Tensor) -> Tensor:
        return self.log_w().exp() / self.spread(t)

    def inverse(self, u: Tensor) -> Tensor:
        return (self.spread(u).log() * (-self.log_w()).exp()).exp()
