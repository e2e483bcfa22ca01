"""A path of steps that go one way only, written in either direction.

The best order depends on a flag in the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.data.tasks.law import Law, uniform_log_prob
from ordo.settings import Several, checked


@checked
@dataclass(frozen=True)
class TwoWays(Law):
    """A path through ``steps`` random maps of ``n_states`` states, from a given start.

    State i + 1 is map i of state i. Maps, a fair flag and the start are given; the path is decoded.
    Flag 0: the path is written from left to right; flag 1: from right to left.

    Tokens: the maps (steps x n_states), flag, start, then the path, ``steps`` positions. The path
    follows from the rest: entropy 0.

    Good order: along the path, so that every token is one look at a map. An order against the path
    has to tell a state before the state that it is looked up by, which takes many looks one after
    another, or a guess. A law of positions alone goes along the path in one half of the sequences
    only.
    """

    n_states: Several = 4
    steps: Several = 4

    @property
    def length(self) -> int:
        return self.steps * self.n_states + 2 + self.steps

    @property
    def vocab_size(self) -> int:
        return self.n_states

    @property
    def entropy(self) -> float:
        """The entropy of the path given the rest."""
        return 0.0

    @property
    def known(self) -> Tensor:
        return torch.arange(self.length) < self.length - self.steps

    @property
    def labels(self) -> list[str]:
        maps = [f"map {i} of {state}" for i in range(self.steps) for state in range(self.n_states)]
        return [*maps, "flag", "start", *(f"path {i}" for i in range(self.steps))]

    def solve(self, tokens: Tensor) -> Tensor:
        """The path (n, steps) int64, as written, that follows from the rest of the tokens."""
        maps = tokens[:, : self.steps * self.n_states].view(-1, self.steps, self.n_states)
        flag, state = tokens[:, -self.steps - 2], tokens[:, -self.steps - 1]
        path = []
        for i in range(self.steps):
            state = maps[:, i].gather(1, state[:, None])[:, 0]
            path.append(state)
        forward = torch.stack(path, 1)
        return torch.where((flag == 0)[:, None], forward, forward.flip(1))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        tokens = torch.randint(self.n_states, (n, self.length), generator=generator)
        tokens[:, -self.steps - 2] = torch.randint(2, (n,), generator=generator)
        tokens[:, -self.steps :] = self.solve(tokens)
        return tokens

    def _log_prob(self, tokens: Tensor) -> Tensor:
        """Log-probability of the path given the rest: 0 or -inf."""
        possible = (self.solve(tokens) == tokens[:, -self.steps :]).all(1) & (
            tokens[:, -self.steps - 2] < 2
        )
        return uniform_log_prob(possible, 0.0)
