"""Training sequences that are made afresh at every step: nothing can be learned by heart."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ordo.data.loader import StepSampler, data_generator
from ordo.data.module import Batch, SequenceData


@dataclass(eq=False)
class FreshRows(Dataset[Batch | Tensor]):
    """Batch ``step`` of a run as a pure function of (seed, step).

    Ranks take strided slices of the whole batch: W ranks with ``batch_size`` B see together the
    rows that one rank with W * B sees.
    """

    batch_size: int
    seed: int
    rank: int
    world_size: int

    @abstractmethod
    def whole(self, n: int, generator: torch.Generator) -> Batch:
        """n sequences, for all ranks."""

    def __getitems__(self, steps: list[int]) -> Batch | Tensor:
        """The batch for the one step in ``steps``; bare tokens if no position is known."""
        (step,) = steps
        whole = self.whole(self.batch_size * self.world_size, data_generator(self.seed, step))
        tokens, known = (
            None if x is None else x[self.rank :: self.world_size]
            for x in (whole.tokens, whole.known)
        )
        assert tokens is not None
        return tokens if known is None else Batch(tokens, known)


class FreshData(SequenceData):
    """Base of data that are made afresh; ``train_rows`` answers with ``FreshRows``."""

    batches_per_epoch: int

    def train_sampler(self, rank: int, world_size: int) -> StepSampler:
        identity = {"global_batch_size": self.batch_size * world_size, "seed": self.seed}
        return StepSampler(self.batches_per_epoch, identity)
