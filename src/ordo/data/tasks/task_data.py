"""Batches from a law: training sequences are drawn afresh at every step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, is_dataclass

import torch
from torch import Tensor

from ordo.data.loader import data_generator
from ordo.data.module import Batch, Rows
from ordo.data.tasks.fresh import FreshData, FreshRows
from ordo.data.tasks.law import Law
from ordo.settings import Count, Seed, Size, Some, checked


def with_known(tokens: Tensor, law: Law) -> Batch:
    """Draws (n, length) of the law, and which of their positions are given."""
    return Batch(tokens, None if law.known is None else law.known.expand_as(tokens))


@dataclass(eq=False)
class FreshDraws(FreshRows):
    """Fresh draws of a law."""

    law: Law

    def whole(self, n: int, generator: torch.Generator) -> Batch:
        return with_known(self.law.sample(n, generator), self.law)


@checked
class TaskData(FreshData):
    """Fresh sequences of a law for training, fixed draws for validation and test.

    See ``SequenceData`` for what it offers, and the attribute ``task``. The fixed draws depend on
    the law and ``eval_size`` only, not on ``seed``.

    Args:
        task: the law, for example ``NotAllEqual(n_latents=8, n_observations=20)``.
        batches_per_epoch: training batches that Lightning calls an epoch.
        eval_size: sequences in each of the validation and test sets.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.

    Raises:
        SettingError: an argument of another type, or out of range.
    """

    def __init__(
        self,
        task: Law,
        batches_per_epoch: Count = 1000,
        eval_size: Size = 1024,
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        self.task, self.batches_per_epoch, self.eval_size = task, batches_per_epoch, eval_size
        self.length, self.vocab_size, self.unit = task.length, task.vocab_size, "token"
        self.vocab_sizes = [task.vocab_size] * task.length
        self.given = None if task.known is None else task.known.nonzero()[:, 0].tolist()
        self.entropy, self.precedence, self.labels = task.entropy, task.precedence, task.labels

    def setup(self, stage: str | None = None) -> None:
        """Draws the evaluation sets; a second call does nothing."""
        if hasattr(self, "test_set"):
            return
        # Not a function of the run's seed: runs of all seeds are scored on the same sequences.
        draws = [self.task.sample(self.eval_size, data_generator(split)) for split in (1, 2)]
        self.val_set, self.test_set = (Rows(*with_known(tokens, self.task)) for tokens in draws)

    def train_rows(self, rank: int, world_size: int) -> FreshDraws:
        return FreshDraws(self.batch_size, self.seed, rank, world_size, self.task)

    def decode(self, tokens: Tensor) -> list[str]:
        return self.task.decode(tokens)

    def describe(self) -> dict[str, object]:
        return {
            "name": type(self.task).__name__,
            "task": asdict(self.task) if is_dataclass(self.task) else repr(self.task),
            **super().describe(),
            "entropy": self.entropy,
        }
