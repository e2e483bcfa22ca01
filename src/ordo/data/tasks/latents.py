"""Tasks with a known best decoding order, even one token at a time.

More laws are in ``ordo.data.tasks.processes``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from ordo.data.loader import data_generator
from ordo.data.tasks.law import Law, require, uniform_log_prob
from ordo.settings import Seed, Several, Size, between, checked


@dataclass(frozen=True)
class LatentsAndObservations(Law):
    """``n_latents`` uniform latents and observations that are functions of a few of them.

    Columns are shuffled. This is the hard-order task of Kim et al. 2025 (arXiv 2502.06768):
    decoding latents first makes every conditional easy; an observation decoded early makes later
    conditionals hard. ``design_seed`` alone says which latents an observation sees and where the
    columns are. The subclasses ``NotAllEqual`` and ``ModularSums`` say how many latents an
    observation has (``arity``) and what it computes.
    """

    n_latents: Size
    n_observations: Size
    design_seed: Seed = 0

    arity = 2  # no annotation: a constant of the class, not a field

    def __post_init__(self) -> None:
        require(
            self.n_latents >= self.arity, f"need n_latents >= {self.arity}, got {self.n_latents}"
        )

    @cached_property
    def _design(self) -> tuple[Tensor, Tensor]:
        generator = data_generator(self.design_seed)
        draws = [
            torch.randperm(self.n_latents, generator=generator)[: self.arity]
            for _ in range(self.n_observations)
        ]
        return torch.stack(draws), torch.randperm(self.length, generator=generator)

    @property
    def parents(self) -> Tensor:
        """(n_observations, arity) int64: the distinct latents each observation sees."""
        return self._design[0]

    @property
    def columns(self) -> Tensor:
        """(length,) int64: column of each latent, then of each observation."""
        return self._design[1]

    @property
    def length(self) -> int:
        return self.n_latents + self.n_observations

    @property
    def entropy(self) -> float:
        return self.n_latents * math.log(self.vocab_size)

    @property
    def labels(self) -> list[str]:
        """``latent i`` and ``observation j``."""
        names = [f"latent {i}" for i in range(self.n_latents)] + [
            f"observation {j}" for j in range(self.n_observations)
        ]
        return [names[i] for i in self.columns.argsort().tolist()]

    @property
    def precedence(self) -> list[tuple[int, int]]:
        """Each observation's latents before it."""
        column = self.columns.tolist()
        return [
            (column[latent], column[self.n_latents + observation])
            for observation, latents in enumerate(self.parents.tolist())
            for latent in latents
        ]

    @abstractmethod
    def observe(self, seen: Tensor) -> Tensor:
        """Observations (n, n_observations) of the latents they see (n, n_observations, arity)."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        latents = torch.randint(self.vocab_size, (n, self.n_latents), generator=generator)
        tokens = torch.empty((n, self.length), dtype=torch.int64)
        tokens[:, self.columns] = torch.cat(
            [latents, self.observe(latents[:, self.parents])], dim=1
        )
        return tokens

    def _log_prob(self, tokens: Tensor) -> Tensor:
        latents, observations = tokens[:, self.columns].split(
            [self.n_latents, self.n_observations], dim=1
        )
        return uniform_log_prob(
            (self.observe(latents[:, self.parents]) == observations).all(1), -self.entropy
        )


@checked
@dataclass(frozen=True)
class NotAllEqual(LatentsAndObservations):
    """Fair bits, and observations that say whether three of them are not all equal.

    Entropy ``n_latents`` ln 2.
    """

    arity = 3

    @property
    def vocab_size(self) -> int:
        return 2

    def observe(self, seen: Tensor) -> Tensor:
        return (seen != seen[..., :1]).any(-1).long()


@checked
@dataclass(frozen=True)
class ModularSums(LatentsAndObservations):
    """Latents uniform in Z_m and observations (x_i + x_j) mod m. Entropy ``n_latents`` ln m.

    A sum and one of its latents give the other latent, so orders that walk along the graph of pairs
    are as good as latents first. A sum that comes before both of its latents is uniform.
    """

    modulus: Several = 5

    @property
    def vocab_size(self) -> int:
        return self.modulus

    def observe(self, seen: Tensor) -> Tensor:
        return seen.sum(-1) % self.modulus


@checked
@dataclass(frozen=True)
class Addition(Law):
    """a + b = c in decimal, digits most significant first.

    a and b have ``n_digits`` D uniform digits each, c has D + 1. Good order: the operands, then c
    from the least significant digit, so that only a carry has to be kept.
    """

    n_digits: Annotated[int, between(1, 17)] = 4  # sums are int64

    @property
    def length(self) -> int:
        return 3 * self.n_digits + 1

    @property
    def vocab_size(self) -> int:
        return 10

    @property
    def entropy(self) -> float:
        return 2 * self.n_digits * math.log(10)

    @property
    def labels(self) -> list[str]:
        """For every digit, its number's name and its power of ten."""
        d = self.n_digits
        return [
            f"{name} 10^{k}"
            for name, digits in (("a", d), ("b", d), ("c", d + 1))
            for k in reversed(range(digits))
        ]

    @property
    def precedence(self) -> list[tuple[int, int]]:
        """Operand digits before digits of c of the same or higher significance; c from its end."""
        d = self.n_digits
        edges = []
        for k in range(d):  # significance: 0 is the units digit
            for m in range(k, d + 1):
                edges += [(d - 1 - k, 3 * d - m), (2 * d - 1 - k, 3 * d - m)]
                if k < m:
                    edges.append((3 * d - k, 3 * d - m))
        return edges

    def _sum(self, operands: Tensor) -> Tensor:
        powers = 10 ** torch.arange(self.n_digits, -1, -1)
        total = (operands.view(-1, 2, self.n_digits) * powers[1:]).sum((1, 2))
        return total[:, None] // powers % 10

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        operands = torch.randint(10, (n, 2 * self.n_digits), generator=generator)
        return torch.cat([operands, self._sum(operands)], dim=1)

    def _log_prob(self, tokens: Tensor) -> Tensor:
        operands, total = tokens[:, : 2 * self.n_digits], tokens[:, 2 * self.n_digits :]
        return uniform_log_prob((self._sum(operands.contiguous()) == total).all(1), -self.entropy)

    def decode(self, tokens: Tensor) -> list[str]:
        """For example ``12+34=046``."""
        d = self.n_digits
        return [f"{row[:d]}+{row[d : 2 * d]}={row[2 * d :]}" for row in super().decode(tokens)]
