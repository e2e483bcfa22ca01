"""Batch samplers whose position is saved in checkpoints: a killed run resumes with the next batch.

Both are made for ``torchdata.stateful_dataloader.StatefulDataLoader``, which calls their
``state_dict`` and ``load_state_dict``. They count batches, not epochs: batch ``s`` of a run is a
pure function of ``(seed, s)``, whatever the number of ranks. The saved state holds no rank, because
Lightning writes the state of rank 0 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ordo.data.errors import DataError
from ordo.data.permutation import LargePermutation
from ordo.randomness import seeded_generator

State = dict[str, Any]  # what a checkpoint keeps of an object: plain values and tensors
LARGE = 1 << 22  # above so many rows no table of the permutation is made


def data_generator(*keys: int) -> torch.Generator:
    """A CPU generator that is a pure function of the keys.

    It is never the generator that draws masks and orders in a training step.
    """
    return seeded_generator("cpu", 0xDA7A, *keys)


class StepSampler(Sampler[list[int]]):
    """Hands out the numbers of the run's batches, ``[0], [1], [2], ...``.

    It is for data drawn at every step.

    One ``iter()`` is one pass of ``steps`` batches, and the next ``iter()`` goes on from there. A
    pass that was left early (``limit_train_batches``) is followed by a whole pass that starts where
    it was left. After ``load_state_dict`` the first pass has only the batches that the interrupted
    pass still lacked.

    Args:
        steps: batches in a pass, at least 1.
        identity: what must be equal for a saved position to mean the same batches, such as the seed
            and the batch size over all ranks.
    """

    def __init__(self, steps: int, identity: Mapping[str, int | str] | None = None) -> None:
        if steps < 1:
            raise DataError(f"a pass needs at least one batch, got steps={steps}")
        self.steps = steps
        self.identity = {"steps": steps, **(identity or {})}
        self._step = 0  # batches handed out since the beginning of the run
        self._taken = 0  # batches handed out in the current pass
        self._resumed = False

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: nothing happens before the first next(). So the iterators that Lightning and
        # torchdata make and drop on the way to the first batch neither lose the restored position
        # nor skip a pass.
        if not self._resumed or self._taken >= self.steps:
            self._taken = 0
        self._resumed = False
        while self._taken < self.steps:
            rows = self.rows(self._step)
            self._step += 1
            self._taken += 1
            yield rows

    def rows(self, step: int) -> list[int]:
        """What the dataset is asked for at batch number ``step`` of the run."""
        return [step]

    def state_dict(self) -> State:
        """Position after the last batch handed out, and the identity it belongs to."""
        return {"step": self._step, "taken": self._taken, "identity": dict(self.identity)}

    def load_state_dict(self, state_dict: State) -> None:
        """Goes to a saved position.

        Raises DataError if it was saved with another seed, batch size or amount of data.
        """
        saved = dict(state_dict["identity"])
        if saved != self.identity:
            raise DataError(
                f"cannot resume the training batches: the checkpoint was written with {saved}, "
                f"this run has {self.identity}; "
                "resume with the same data, seed and batch_size times devices, or start a new run "
                "from the weights alone"
            )
        self._step, self._taken = int(state_dict["step"]), int(state_dict["taken"])
        self._resumed = True


class StepBatchSampler(StepSampler):
    """Shuffled batches of row numbers; epoch ``e`` is a permutation, a function of ``(seed, e)``.

    Ranks take strided slices of one global permutation: the rows of batch ``s`` on W ranks with
    ``batch_size`` B are the rows of batch ``s`` on one rank with batch size W * B. The number
    handed out for row ``i`` in epoch ``e`` is ``e' * n + i`` with an ``e'`` that is never used
    twice. So a dataset may draw a random crop from that number alone, and one without randomness
    takes it modulo ``n``.

    The permutation is torch.randperm's, a table of 8 n bytes. Above ``LARGE`` rows it is a
    ``LargePermutation``, which needs no table.

    Args:
        n: rows in the data set.
        batch_size: rows per batch and rank.
        seed: of the permutations.
        rank: this process, 0 <= rank < world_size.
        world_size: number of processes.
        drop_last: leave out the rows that fill no whole batch. If False, and also if ``n`` is
            smaller than one batch over all ranks, the last batch is filled up from the beginning of
            the same permutation. So batches are always full, no rank waits for another, and a tiny
            data set gives repeated rows rather than an empty loader.

    Raises:
        DataError: an argument out of range.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ) -> None:
        if n < 1 or batch_size < 1:
            raise DataError(
                f"need at least one row and one row per batch, got n={n}, batch_size={batch_size}"
            )
        if not 0 <= rank < world_size:
            raise DataError(
                f"rank must be in 0..world_size-1, got rank={rank}, world_size={world_size}"
            )
        total = batch_size * world_size
        steps = max(1, n // total) if drop_last else math.ceil(n / total)
        super().__init__(steps, {"rows": n, "global_batch_size": total, "seed": seed})
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world_size = rank, world_size
        # How often an epoch goes through the permutation or a part of it
        self._rounds = math.ceil(steps * total / n)
        self._permutation: tuple[int, Callable[[Tensor], Tensor]] | None = None

    def rows(self, step: int) -> list[int]:
        epoch, batch = divmod(step, self.steps)
        if self._permutation is None or self._permutation[0] != epoch:
            self._permutation = (epoch, permutation(self.n, data_generator(self.seed, epoch)))
        slots = (
            batch * self.batch_size + torch.arange(self.batch_size)
        ) * self.world_size + self.rank
        rounds = epoch * self._rounds + slots.div(self.n, rounding_mode="floor")
        return (rounds * self.n + self._permutation[1](slots % self.n)).tolist()


def permutation(n: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A permutation of 0..n-1, as a function from indices int64 of any shape to their places.

    It depends on the state of the generator only.
    """
    if n > LARGE:
        return LargePermutation(n, generator)
    return torch.randperm(n, generator=generator).__getitem__
