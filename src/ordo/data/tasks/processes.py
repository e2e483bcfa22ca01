"""Laws without a best order one token at a time.

In chains and trees the order matters only if several tokens are decoded at once. The exchangeable
laws are controls: a learned order must stay uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ordo.data.tasks.law import Law, require, uniform_log_prob
from ordo.settings import Several, Share, Size, between, checked


def _binary_entropy(p: float) -> float:
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


@checked
@dataclass(frozen=True)
class MarkovChain(Law):
    """A chain with a uniform start whose state changes with probability ``flip``.

    All other states are equally likely after a change. One token at a time all orders are equally
    good. Several at a time, bisection is exact (a position is independent of everything beyond its
    nearest decoded neighbours) and random orders are not.
    """

    n_steps: Size = 64
    n_states: Several = 2
    flip: Share = 0.1

    @property
    def length(self) -> int:
        return self.n_steps

    @property
    def vocab_size(self) -> int:
        return self.n_states

    @property
    def entropy(self) -> float:
        """ln V + (L - 1) (H(flip) + flip ln(V - 1))."""
        step = _binary_entropy(self.flip) + self.flip * math.log(self.n_states - 1)
        return math.log(self.n_states) + (self.n_steps - 1) * step

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        moves = torch.randint(1, self.n_states, (n, self.n_steps), generator=generator)
        moves *= torch.rand((n, self.n_steps), generator=generator, dtype=torch.float64) < self.flip
        moves[:, 0] = torch.randint(self.n_states, (n,), generator=generator)
        return moves.cumsum(1) % self.n_states

    def _log_prob(self, tokens: Tensor) -> Tensor:
        p = torch.tensor([1 - self.flip, self.flip / (self.n_states - 1)], dtype=torch.float64)
        changed = (tokens[:, 1:] != tokens[:, :-1]).long()
        return p.log()[changed].sum(1) - math.log(self.n_states)


@checked
@dataclass(frozen=True)
class BinaryTree(Law):
    """A complete binary tree of bits in level order.

    The root is fair, and each child differs from its parent with probability ``flip``. Position i
    has the children 2i + 1 and 2i + 2; ``depth`` levels give 2**depth - 1 positions. One token at a
    time all orders are equally good; decoding level by level is exact with one call a level.
    """

    depth: Annotated[int, between(1, 20)] = 4
    flip: Share = 0.1

    @property
    def length(self) -> int:
        return 2**self.depth - 1

    @property
    def vocab_size(self) -> int:
        return 2

    @property
    def entropy(self) -> float:
        return math.log(2) + (self.length - 1) * _binary_entropy(self.flip)

    @property
    def precedence(self) -> list[tuple[int, int]]:
        """Parent before child, which matters if several tokens are decoded at once."""
        return [((child - 1) // 2, child) for child in range(1, self.length)]

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        changed = torch.rand((n, self.length), generator=generator, dtype=torch.float64) < self.flip
        tokens = changed.long()
        tokens[:, 0] = torch.randint(2, (n,), generator=generator)
        for level in range(1, self.depth):
            children = torch.arange(2**level - 1, 2 ** (level + 1) - 1)
            tokens[:, children] ^= tokens[:, (children - 1) // 2]
        return tokens

    def _log_prob(self, tokens: Tensor) -> Tensor:
        children = torch.arange(1, self.length)
        changed = tokens[:, children] ^ tokens[:, (children - 1) // 2]
        p = torch.tensor([1 - self.flip, self.flip], dtype=torch.float64)
        return p.log()[changed].sum(1) - math.log(2)


@checked
@dataclass(frozen=True)
class EvenParity(Law):
    """Bits, uniform among the sequences with an even number of ones.

    Exchangeable: a learned order must stay uniform.
    """

    n_bits: Size = 16

    @property
    def length(self) -> int:
        return self.n_bits

    @property
    def vocab_size(self) -> int:
        return 2

    @property
    def entropy(self) -> float:
        return (self.n_bits - 1) * math.log(2)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        free = torch.randint(2, (n, self.n_bits - 1), generator=generator)
        return torch.cat([free, free.sum(1, keepdim=True) % 2], dim=1)

    def _log_prob(self, tokens: Tensor) -> Tensor:
        return uniform_log_prob(tokens.sum(1) % 2 == 0, -self.entropy)


@checked
@dataclass(frozen=True)
class IndependentTokens(Law):
    """Tokens drawn independently from ``probs`` (V,).

    Exchangeable: a learned order must stay uniform.
    """

    n_tokens: Size
    probs: tuple[Share, ...]

    def __post_init__(self) -> None:
        require(
            math.isclose(sum(self.probs), 1, abs_tol=1e-9),
            f"probs must sum to 1, got {list(self.probs)}",
        )

    @property
    def length(self) -> int:
        return self.n_tokens

    @property
    def vocab_size(self) -> int:
        return len(self.probs)

    @property
    def entropy(self) -> float:
        return -self.n_tokens * sum(p * math.log(p) for p in self.probs if p > 0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        p = torch.tensor(self.probs, dtype=torch.float64)
        return torch.multinomial(p, n * self.n_tokens, replacement=True, generator=generator).view(
            n, self.n_tokens
        )

    def _log_prob(self, tokens: Tensor) -> Tensor:
        return torch.tensor(self.probs, dtype=torch.float64).log()[tokens].sum(1)
