"""A task whose best decoding order depends on the sequence: no order of positions suits all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import torch
from torch import Tensor

from ordo.data.loader import data_generator
from ordo.data.tasks.law import Law, uniform_log_prob
from ordo.settings import Seed, between, checked


@checked
@dataclass(frozen=True)
class TwoOrders(Law):
    """A fair flag, then two halves of ``n_half`` columns each, shuffled.

    Flag 0: the first half are fair bits, and each column of the second half is a function of three
    of these bits: whether they are not all equal (``observation="nae"``) or whether their sum is
    odd ("parity"). Flag 1: the halves change roles. Entropy (1 + n_half) ln 2.

    Good order: the flag, then the half of fair bits; every other column is then certain. A column
    of the other half that comes too early makes conditionals hard to learn (Kim et al. 2502.06768),
    and hardest for parities, which are linear equations to solve. A law of positions alone is right
    for one half of the sequences.
    """

    n_half: Annotated[int, between(3, 10**6)] = 8
    design_seed: Seed = 0
    observation: Literal["nae", "parity"] = "nae"

    @cached_property
    def _design(self) -> tuple[Tensor, Tensor]:
        generator = data_generator(self.design_seed)
        seen = [
            torch.randperm(self.n_half, generator=generator)[:3] for _ in range(2 * self.n_half)
        ]
        return torch.stack(seen).view(2, self.n_half, 3), torch.randperm(
            2 * self.n_half, generator=generator
        ) + 1

    @property
    def parents(self) -> Tensor:
        """(2, n_half, 3) int64: by flag, the bits that each observation sees, from 0."""
        return self._design[0]

    @property
    def halves(self) -> Tensor:
        """(2, n_half) int64: the columns of the halves; column 0 is the flag."""
        return self._design[1].view(2, self.n_half)

    @property
    def length(self) -> int:
        return 1 + 2 * self.n_half

    @property
    def vocab_size(self) -> int:
        return 2

    @property
    def entropy(self) -> float:
        return (1 + self.n_half) * math.log(2)

    @property
    def labels(self) -> list[str]:
        """``flag``, ``first i`` and ``second i``."""
        names = [f"{name} {i}" for name in ("first", "second") for i in range(self.n_half)]
        return ["flag", *(names[i] for i in self._design[1].argsort().tolist())]

    @property
    def precedence(self) -> list[tuple[int, int]]:
        """The flag before all other columns: which half comes next depends on it."""
        return [(0, j) for j in range(1, self.length)]

    def _observe(self, bits: Tensor, flag: int) -> Tensor:
        """Observations (n, n_half) of bits (n, n_half)."""
        seen = bits[:, self.parents[flag]]
        return (
            seen.sum(-1) % 2
            if self.observation == "parity"
            else (seen != seen[..., :1]).any(-1).long()
        )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        flag = torch.randint(2, (n, 1), generator=generator)
        bits = torch.randint(2, (n, self.n_half), generator=generator)
        tokens = torch.empty((n, self.length), dtype=torch.int64)
        tokens[:, :1] = flag
        tokens[:, self.halves[0]] = torch.where(flag == 0, bits, self._observe(bits, 1))
        tokens[:, self.halves[1]] = torch.where(flag == 0, self._observe(bits, 0), bits)
        return tokens

    def _log_prob(self, tokens: Tensor) -> Tensor:
        first, second = tokens[:, self.halves[0]], tokens[:, self.halves[1]]
        possible = torch.where(
            tokens[:, 0] == 0,
            (self._observe(first, 0) == second).all(1),
            (self._observe(second, 1) == first).all(1),
        )
        return uniform_log_prob(possible, -self.entropy)
