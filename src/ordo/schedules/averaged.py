"""What a law that depends on the tokens looks like over many sequences: for pictures and numbers of one law."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.order import PlackettLuce, absent
from ordo.schedules.content import ContentSchedule


class AveragedSchedule:
    """A content schedule averaged over clean tokens (n, length), each row alike; lengths (n,): later positions are padding."""

    @torch.no_grad()
    def __init__(self, schedule: ContentSchedule, tokens: Tensor, lengths: Tensor | None = None):
        self.length = schedule.length
        self.log_w = schedule.log_w(
            tokens, None if lengths is None else ~absent(lengths, tokens.shape[1])
        )

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
    """The mixture of the order laws of n sequences, each Plackett-Luce in its log_w (n, length). An order's probability is not offered: a
    model's orders belong to their sequence.
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
        """Positions by expected rank (length,), which need not be the most probable order: that of a mixture has no closed form."""
        return self.expected_rank().argsort(stable=True)

    def entropy(
        self, samples: int = 4096, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean over sequences of the entropy of the order given the sequence, nats, and its standard error over draws: 0 only where every
        sequence has one order, however much these differ.
        """
        n = len(self.laws.log_w)
        repeats = max(2, -(-samples // n))
        drawn = torch.stack(
            [-self.laws.log_prob(self.laws.sample(n, generator)) for _ in range(repeats)]
        )
        return drawn.mean(), drawn.mean(1).std() / repeats**0.5
