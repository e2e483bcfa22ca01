"""What a synthetic task is: a law over sequences that is known exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ordo.data.errors import DataError


class Law(ABC):
    """A distribution over token sequences (length,) with tokens in 0..vocab_size-1.

    Subclasses are frozen dataclasses: their fields are the task's settings, and two equal objects
    are the same law.
    """

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens per sequence."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of token values."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """Exact entropy in nats per sequence: the least NELBO of any model on fresh samples."""

    @property
    def known(self) -> Tensor | None:
        """Positions (length,) bool that are given; only the other positions are decoded.

        Entropy and log-probabilities are then those of the other positions, conditional on the
        given ones. None: all positions are decoded.
        """
        return None

    @property
    def precedence(self) -> list[tuple[int, int]] | None:
        """Pairs (i, j): in a good decoding order position i comes before j.

        None: no order is better.
        """
        return None

    @property
    def labels(self) -> list[str] | None:
        """A name for every position; None: positions are numbered."""
        return None

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, length) int64 independent draws; ``generator`` is on the CPU."""

    @abstractmethod
    def _log_prob(self, tokens: Tensor) -> Tensor:
        """``log_prob`` of tokens (n, length) already known to be in range."""

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Exact log-probabilities in nats, (n,) float64, of tokens (n, length); -inf if impossible.

        Raises DataError for another shape.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.length:
            raise DataError(f"tokens must be (n, {self.length}), got {tuple(tokens.shape)}")
        tokens = tokens.long()
        in_range = ((tokens >= 0) & (tokens < self.vocab_size)).all(1)
        values = self._log_prob(tokens.clamp(0, self.vocab_size - 1))
        return values.masked_fill(~in_range, -torch.inf)

    def decode(self, tokens: Tensor) -> list[str]:
        """Sequences (n, length) as n strings; the mask is ``_``.

        There are spaces between tokens if some tokens have two digits.
        """
        space = " " if self.vocab_size > 10 else ""
        return [
            space.join("_" if t == self.vocab_size else str(t) for t in row)
            for row in tokens.tolist()
        ]


def require(condition: bool, message: str) -> None:
    """Raises DataError(message) unless the condition holds."""
    if not condition:
        raise DataError(message)


def uniform_log_prob(possible: Tensor, log_p: float) -> Tensor:
    """(n,) float64: ``log_p`` where ``possible`` (n,) bool, else -inf."""
    value = torch.full(possible.shape, log_p, dtype=torch.float64)
    return value.masked_fill(~possible, -torch.inf)
