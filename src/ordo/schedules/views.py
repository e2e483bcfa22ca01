"""What pictures and numbers show of a schedule: the decoded positions alone, or a mean over
sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.order import PlackettLuce

if TYPE_CHECKING:
    from ordo.schedules.base import Schedule


class SchedulePart:
    """A schedule restricted to some positions: the decoded ones, where the others are given in
    every row.

    For plots and statistics only. No number of a law should count given positions, which have no
    order.

    Args:
        schedule: a ``Schedule`` or an ``AveragedSchedule``.
        positions: (k,) int64, ascending; they are 0..k-1 here.
    """

    def __init__(self, schedule: Any, positions: Tensor):
        self.schedule, self.length = schedule, len(positions)
        self.positions = positions.to(schedule.device)

    @property
    def device(self) -> torch.device:
        return self.schedule.device

    def alpha(self, t: Tensor) -> Tensor:
        """t (n,) or (n, k) -> (n, k) float64."""
        return self.schedule.alpha(self._whole(t))[..., self.positions]

    def inverse(self, u: Tensor) -> Tensor:
        """Arrival times of u (n, k), see ``Schedule.inverse``."""
        return self.schedule.inverse(self._whole(u))[:, self.positions]

    def alpha_prime(self, t: Tensor) -> Tensor:
        """As ``alpha``."""
        return self.schedule.alpha_prime(self._whole(t))[..., self.positions]

    def _whole(self, values: Tensor) -> Tensor:
        """Values (n, k) at their positions of (n, length), 0.5 elsewhere; values (n,) hold for all
        positions.
        """
        if values.ndim == 1:
            return values
        whole = torch.full(
            (len(values), self.schedule.length), 0.5, dtype=values.dtype, device=values.device
        )
        whole[:, self.positions] = values
        return whole

    def law(self) -> Any:
        """The order law of these positions among themselves."""
        return self.schedule.law().part(self.positions)


class AveragedSchedule:
    """A schedule that depends on the tokens, averaged over the clean sequences of a batch."""

    @torch.no_grad()
    def __init__(self, schedule: Schedule, batch: Batch):
        self.length, law = schedule.length, schedule.law(batch)
        if not isinstance(law, PlackettLuce):
            raise ValueError(f"{type(schedule).__name__} has no weights to average")
        self.log_w = law.log_w

    @property
    def device(self) -> torch.device:
        return self.log_w.device

    def alpha(self, t: Tensor) -> Tensor:
        """Mean of 1 - t^{w_l(x)}: t (times,) -> (times, length) float64."""
        return torch.stack(
            [-torch.expm1(self.log_w.exp() * each.log()).mean(0) for each in t.double()]
        )

    def law(self) -> AveragedLaw:
        return AveragedLaw(self.log_w)


class AveragedLaw:
    """The mixture of the order laws of n sequences, each Plackett-Luce in a row of log_w (n,
    length).

    The probability of an order is not offered: a model's orders belong to their sequence.
    """

    mode_name = "order of mean ranks"

    def __init__(self, log_w: Tensor):
        self.laws, self.length = PlackettLuce(log_w), log_w.shape[1]

    def part(self, positions: Tensor) -> AveragedLaw:
        """The law of positions (k,), ascending, among themselves."""
        return AveragedLaw(self.laws.log_w[:, positions])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n orders (n, length) int64, each of a sequence drawn at random."""
        log_w = self.laws.log_w
        return PlackettLuce(
            log_w[torch.randint(len(log_w), (n,), generator=generator, device=log_w.device)]
        ).sample(n, generator)

    def expected_rank(self) -> Tensor:
        """Mean rank of each position (length,), from 1."""
        return self.laws.expected_rank().mean(0)

    def precedence(self) -> Tensor:
        """P(i is decoded before j), (length, length); the diagonal is 0."""
        return self.laws.precedence().mean(0)

    def mode(self) -> Tensor:
        """Positions by expected rank (length,); the most probable order of a mixture has no closed
        form.
        """
        return self.expected_rank().argsort(stable=True)

    def entropy(
        self, samples: int = 4096, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean over sequences of the entropy of the order given the sequence, nats, and its
        standard error.

        The mean is 0 only where every sequence has one order, however much these orders differ.
        """
        n = len(self.laws.log_w)
        repeats = max(2, -(-samples // n))
        drawn = torch.stack(
            [-self.laws.log_prob(self.laws.sample(n, generator)) for _ in range(repeats)]
        )
        return drawn.mean(), drawn.mean(1).std() / repeats**0.5
