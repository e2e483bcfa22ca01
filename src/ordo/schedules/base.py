"""What every noise schedule is: alpha_l(t), decreasing from 1 at t=0 to 0 at t=1, one per position.

A new schedule subclasses ``Schedule`` and writes ``alpha``. The derivative, the hazard, the inverse
and the order law follow from alpha; a schedule overrides them with closed forms where stability or
speed asks. A schedule whose law depends on the tokens subclasses ``TokenSchedule`` instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ordo import showing
from ordo.batch import Batch
from ordo.order import OrderDraw, OrderLaw, draw_of
from ordo.schedules.views import SchedulePart
from ordo.settings import Size, checked
from ordo.steps import StepLaw

SHOWN_ORDERS = 256  # drawn for the mean ranks that a law is shown with
# (0, 1) as far as float64 can tell: keeps quotients and logarithms finite.
INSIDE = (1e-300, 1 - 2**-53)


@checked
class Schedule(nn.Module):
    """Token l is masked at time tau_l with P(tau_l <= t) = 1 - alpha_l(t) (2511.19152, Prop. 3.2).

    Times are (batch,) or (batch, length), float64 in [0, 1]; every result is (batch, length),
    float64. Decoding runs from t=1 to 0: the order of decoding is the order of *descending* tau.

    Objectives, likelihoods and samplers ask every schedule for ``law`` and ``at_time``, given a
    batch of clean sequences, and for what holds in reverse: where ``depends_on_tokens`` is False,
    the law given what is revealed is the law given the whole sequence, and nothing else is asked;
    where ``depends_on_tokens`` is True, see ``TokenSchedule``.
    """

    depends_on_tokens = False
    calls: int | None = None  # K of a schedule that is made for K denoiser calls
    _where: Tensor

    def __init__(self, length: Size):
        super().__init__()
        self.length = length
        # Knows the device, also where nothing is learned.
        self.register_buffer("_where", torch.zeros(()), persistent=False)

    @property
    def device(self) -> torch.device:
        return self._where.device

    def alpha(self, t: Tensor) -> Tensor:
        """P(token l is still clean at t): (batch,) or (batch, length) -> (batch, length)."""
        raise TypeError(f"{type(self).__name__} must define alpha(t)")

    def spread(self, t: Tensor) -> Tensor:
        """t (batch,) or (batch, length) -> (batch, length) float64."""
        t = t.double()
        return t[:, None].expand(-1, self.length) if t.ndim == 1 else t

    def alpha_prime(self, t: Tensor) -> Tensor:
        """d alpha_l / dt (batch, length), <= 0, by automatic differentiation; stays differentiable
        in the parameters.
        """
        with torch.inference_mode(False), torch.enable_grad():
            t = self.spread(t).detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.alpha(t).sum(), t, create_graph=True)
        return slope

    def rate(self, t: Tensor) -> Tensor:
        """The weight of Eq. 8, -alpha'/(1 - alpha) (batch, length): the hazard, at which a masked
        token is revealed in reverse time.
        """
        return -self.alpha_prime(t) / (1.0 - self.alpha(t).clamp(*INSIDE))

    def log_mask_prob(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """log P(masked at t) and log P(clean at t), each (batch, length)."""
        alpha = self.alpha(t).clamp(*INSIDE)
        return torch.log1p(-alpha), alpha.log()

    def inverse(self, u: Tensor) -> Tensor:
        """The time at which 1 - alpha_l(t) = u: u (batch, length) in [0, 1] -> (batch, length), by
        bisection.
        """
        u = self.spread(u)
        low, high = torch.zeros_like(u), torch.ones_like(u)
        with torch.no_grad():
            for _ in range(60):
                middle = (low + high) / 2
                below = 1.0 - self.alpha(middle) < u
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def law(self, batch: Batch | Tensor | None = None) -> OrderLaw:
        """The law over decoding orders that this schedule induces, given the clean sequences of a
        batch.
        """
        return ArrivalTimes(self)

    def steps(self, calls: int) -> StepLaw:
        """The law over the steps of a sampler with ``calls`` denoiser calls: the schedule on the
        grid of times between which equal shares of the positions are expected.

        q_l(k) = alpha_l(t_{k+1}) - alpha_l(t_k); differentiable, also through the grid. Raises
        ValueError for fewer than one call.
        """
        part = torch.linspace(0, 1, calls + 1, dtype=torch.float64, device=self.device)
        t = equal_mass(self, part)[1:-1]
        inner = self.alpha(t)  # (calls - 1, length)
        # The grid moves with the parameters so that the mean of alpha stays: one Newton step, which
        # changes the gradient alone.
        slope = self.alpha_prime(t).detach()
        moved = (part[1:-1] - inner.mean(1)) / slope.mean(1).clamp(max=-1e-300)
        inner = inner + slope * (moved - moved.detach())[:, None]
        ends = inner.new_zeros(1, self.length), inner.new_ones(1, self.length)
        q = torch.cat([ends[0], inner, ends[1]]).diff(dim=0).T
        return StepLaw(q.clamp(min=1e-300).log())

    def at_time(self, t: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The rate of Eq. 8, log P(masked) and log P(clean) given the clean sequences of a batch.

        Args:
            t: (n,) times in (0, 1).

        Returns three (n, length) float64.
        """
        return self.rate(t), *self.log_mask_prob(t)

    def log_u(self) -> Tensor | None:
        """log u (vocab,), see ``TokenSchedule``; None: u = 1."""
        return None

    def log_r(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """log r of partly masked sequences, see ``TokenSchedule``. Raises TypeError here."""
        raise TypeError(f"{type(self).__name__} has no reverse law of its own")

    def log_r_along(self, batch: Batch, order: Tensor, mask_id: int, first: int = 0) -> Tensor:
        """log r after each prefix of orders, see ``TokenSchedule``. Raises TypeError here."""
        raise TypeError(f"{type(self).__name__} has no reverse law of its own")


def equal_mass(schedule: Schedule, part: Tensor) -> Tensor:
    """Times at which the mean of alpha over positions is ``part``, (k,) from 1 to 0."""
    low, high = torch.zeros_like(part), torch.ones_like(part)
    with torch.no_grad():
        for _ in range(60):
            middle = (low + high) / 2
            # Too many are revealed: a later time.
            more = schedule.alpha(middle.to(schedule.device)).mean(1).to(part.device) > part
            low, high = torch.where(more, middle, low), torch.where(more, high, middle)
    return (low + high) / 2


class ArrivalTimes(showing.Shown):
    """The order law of any schedule: independent arrival times tau_l, decoded in descending order.

    The probability of an order has no closed form; the density of the times has, and its gradient
    is a valid score function (``causal=False``: a time can move a token to any rank, so no cost may
    be dropped).
    """

    mode_name = "order of mean ranks"

    def __init__(self, schedule: Schedule | SchedulePart):
        self.schedule, self.length = schedule, schedule.length

    def small(self) -> showing.Small:
        schedule: Any = self.schedule
        whole = getattr(schedule, "schedule", schedule)  # of a ``SchedulePart``
        learned = any(p.requires_grad for p in getattr(whole, "parameters", list)())
        title = f"Law of decoding orders by the arrival times of {type(whole).__name__}"
        return showing.law(title, self.length, learned, self.expected_rank(SHOWN_ORDERS))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n orders (n, length) int64: times by the inverse of 1 - alpha_l, sorted downwards
        (2511.19152, Algorithm 1).
        """
        u = torch.rand(
            n, self.length, dtype=torch.float64, generator=generator, device=self.schedule.device
        )
        return (-self.schedule.inverse(u).detach()).argsort(-1)

    def keys(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Uniforms (n, length) to arrival times, which are decoded in descending order; temperature
        0: to minus the ranks of ``mode``.

        Raises ValueError for any other temperature than 0 and 1: only Plackett-Luce laws can be
        tempered.
        """
        if temperature == 0:
            return -self.mode().argsort().double().expand(u.shape)
        if temperature != 1:
            name = type(self.schedule).__name__
            raise ValueError(
                f"temperature {temperature}: the order law of {name} can be drawn from (1) or its "
                "order of mean ranks taken (0)"
            )
        return self.schedule.inverse(u).detach()

    def repeat(self, draws: int) -> ArrivalTimes:
        return self

    def draw(self, u: Tensor, batch: Batch | None = None) -> OrderDraw:
        """Uniforms (n, length) in (0, 1) to orders, see ``PlackettLuce.draw``."""
        # Times that round to 0 or 1 would have an infinite score.
        tau = self.schedule.inverse(u).detach().clamp(*INSIDE)
        log_density = (-self.schedule.alpha_prime(tau)).log()
        return draw_of((-tau).argsort(-1), lambda order: log_density.gather(1, order), False, batch)

    def part(self, positions: Tensor) -> ArrivalTimes:
        """The law of positions (k,), ascending, among themselves."""
        return ArrivalTimes(SchedulePart(self.schedule, positions))

    def expected_rank(self, samples: int = 4096) -> Tensor:
        """Mean rank of each position (length,), from 1, over orders drawn with a fixed seed."""
        order = self.sample(samples, torch.Generator(device=self.schedule.device).manual_seed(0))
        return order.argsort(-1).double().mean(0) + 1.0

    def mode(self) -> Tensor:
        """Positions by expected rank (length,), which need not be the most probable order: that has
        no closed form.
        """
        return self.expected_rank().argsort(stable=True)
