"""A random order, cut off after a random number of choices: what order space draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.order import OrderDraw, OrderLaw


@dataclass(frozen=True)
class Prefix:
    """Orders of n sequences, and how much of each is revealed.

    order: (n, length) int64, given positions first and padding last.
    score: (n, length), see ``OrderDraw``.
    n_given, n_revealed, n_decoded: (n,) int64, positions given, revealed (given ones too), and
        decoded in all.
    masked: (n, length) bool, decoded positions that are not revealed.
    """

    order: Tensor
    score: Tensor
    n_given: Tensor
    n_revealed: Tensor
    n_decoded: Tensor
    masked: Tensor

    @property
    def chosen(self) -> Tensor:
        """(n, length) bool by rank: the choices that made the prefix, and the given positions
        before them.
        """
        ranks = torch.arange(self.order.shape[1], device=self.order.device)
        return ranks < self.n_revealed[:, None]


def draw_prefix(law: OrderLaw, batch: Batch, progress: Tensor, u: Tensor) -> Prefix:
    """A prefix of a drawn order for every sequence.

    Args:
        progress: (n,) in [0, 1): the share of the decoded positions that is revealed, rounded down.
        u: (n, length) in (0, 1), which say the order.
    """
    return cut(law.draw(u, batch), batch, progress)


def cut(draw: OrderDraw, batch: Batch, progress: Tensor) -> Prefix:
    """The prefix of drawn orders that ``progress`` (n,) in [0, 1) says."""
    decoded = batch.decoded
    n_given, n_decoded = batch.given.sum(1), decoded.sum(1)
    n_revealed = n_given + torch.minimum(
        (progress * n_decoded).long(), (n_decoded - 1).clamp(min=0)
    )
    masked = (draw.order.argsort(-1) >= n_revealed[:, None]) & decoded
    return Prefix(draw.order, draw.score, n_given, n_revealed, n_decoded, masked)
