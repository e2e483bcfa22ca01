"""What a sampler leaves: tokens, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trace:
    """n sequences and how they were decoded, all on one device.

    tokens (n, length) int64. rank (n, length): the how-many-th decoded token each is, from 0; those of one step by descending key; -1 where
    given or absent. step (n, length): the step it was revealed in, from 0; -1 likewise. log_prob (n, length) float64: its log-probability
    under the token rule when it was revealed; 0 likewise. remasked (n, length): how often the position was masked again. calls (n,):
    denoiser calls that the row took part in (NFE).
    """

    tokens: Tensor
    rank: Tensor
    step: Tensor
    log_prob: Tensor
    remasked: Tensor
    calls: Tensor

    @property
    def total_log_prob(self) -> Tensor:
        """(n,) float64 nats: log p(what was drawn | what was given, positions chosen); log p(x) itself where the sampler's order is
        deterministic. Meaningless where tokens were masked again.
        """
        return self.log_prob.sum(-1)

    @property
    def order(self) -> Tensor:
        """Positions in the order of decoding, those given first: (n, length) int64."""
        return self.rank.argsort(dim=1, stable=True)

    def cpu(self) -> Trace:
        return Trace(*(getattr(self, f.name).cpu() for f in fields(self)))


def join(parts: list[Trace]) -> Trace:
    """Traces of batches as one."""
    return Trace(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Trace)))
