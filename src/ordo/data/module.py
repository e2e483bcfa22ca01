"""What every data module of the library offers to models, callbacks and reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.batch import Batch
from ordo.data.loader import StepBatchSampler, StepSampler
from ordo.settings import Seed, Size, Some, checked

if TYPE_CHECKING:
    from ordo.data.in_memory import RowsData, RowSource

T = TypeVar("T")
SPLITS = ("train", "validation", "test")


def evenly(n: int, limit: int | None) -> Tensor:
    """Which of n rows to take, int64: ``limit`` of them, evenly spaced; None: all."""
    kept = n if limit is None else min(n, limit)
    return torch.arange(kept) * n // max(1, kept)


class SizedDataset(Dataset[Batch | Tensor], ABC):
    """A data set that knows its length; ``__getitems__`` answers a whole batch at once."""

    @abstractmethod
    def __len__(self) -> int: ...


class Rows(SizedDataset):
    """A fixed table of sequences; rows are fetched a batch at a time.

    Args:
        tokens: (n, length), any integer dtype.
        known, lengths: as in ``Batch``, for all rows.
    """

    def __init__(
        self, tokens: Tensor, known: Tensor | None = None, lengths: Tensor | None = None
    ) -> None:
        self.tokens, self.known, self.lengths = tokens, known, lengths

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, indices: list[int]) -> Batch | Tensor:
        """A batch; bare tokens if nothing is known and nothing is padded."""
        batch = self.batch(torch.tensor(indices) % len(self.tokens))
        return batch.tokens if batch.whole else batch

    def batch(self, rows: Tensor) -> Batch:
        """The batch of the rows (batch,) int64."""
        batch = Batch(self.tokens, self.known, self.lengths).rows(rows)
        return batch._replace(tokens=batch.tokens.long())

    def decoded_positions(self) -> Tensor | None:
        """Positions (k,) int64 to decode, if all rows have the same ones given; else None."""
        if self.known is None or not self.known.any() or (self.known != self.known[:1]).any():
            return None
        return (~self.known[0]).nonzero()[:, 0]

    def given(self, n: int, device: torch.device) -> dict[str, Tensor]:
        """Arguments of ``ordo.samplers.sample`` for n sequences: lengths, and the given positions.

        They are those of the first n rows; after the last row the first one follows.
        """
        batch = self.batch(torch.arange(n) % len(self.tokens)).to(device)
        given = None if batch.known is None else batch.tokens
        found = {"known": batch.known, "lengths": batch.lengths, "given": given}
        return {name: value for name, value in found.items() if value is not None}


def _as_is(batch: T) -> T:
    return batch  # datasets here answer a whole batch at once: nothing is left to collate


@checked
class SequenceData(L.LightningDataModule, ABC):
    """Base of the data modules. Batches are ``Batch``, or tokens (batch, length) int64 alone.

    A subclass fills the attributes below, and ``val_set`` and ``test_set``, in ``setup``, which is
    cheap to call twice. Its training rows are ``train_set``, shuffled; a subclass whose rows come
    otherwise says so in ``train_rows`` and ``train_sampler``.

    Attributes after ``setup``:

    * vocab_size: V. Tokens are in 0..V-1; the mask, which no data set contains, is token V.
    * vocab_sizes: the vocabulary size of every position, for denoisers with a vocabulary per
      column; None (text): ``vocab_size`` everywhere.
    * coordinates: where positions lie on a grid: for each axis, such as row and column, a list of
      ``length`` whole numbers from 0; None: on a line.
    * given: positions that are given in every row; None: none is, or rows differ in them.
    * ordered: how many tokens of each position are ordered, such as bins of numbers; None: none.
    * length: tokens per sequence.
    * unit: what one token is: "char", "token", or "column" of a table.
    * entropy: exact entropy of the source in nats per sequence; None: unknown.
    * labels: a name for every position, such as a table's columns; None: positions are numbered.
    * precedence: pairs (i, j) of positions: in a good decoding order i comes before j; None:
      unknown.
    * places: settings of the constructor that say where data lie. A checkpoint never supplies them.

    Args:
        batch_size: training sequences per step and device.
        eval_batch_size: validation and test sequences per step and device; None: ``batch_size``.
        seed: of everything random about the training batches.
        num_workers: processes that prepare batches. 0 prepares them in the training process, which
            is fast enough here.

    Raises:
        SettingError: an argument of another type, or out of range.
    """

    vocab_size: int
    vocab_sizes: list[int] | None = None
    ordered: list[int] | None = None
    given: list[int] | None = None
    coordinates: list[list[int]] | None = None
    labels: list[str] | None = None
    length: int
    unit: str
    entropy: float | None
    precedence: list[tuple[int, int]] | None = None
    places: tuple[str, ...] = ()
    train_set: SizedDataset | None = None
    val_set: Rows
    test_set: Rows

    def __init__(
        self, batch_size: Size, eval_batch_size: Size | None, seed: Seed, num_workers: Some
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.seed, self.num_workers = seed, num_workers

    @staticmethod
    def of(
        train: RowSource,
        val: RowSource | None = None,
        test: RowSource | None = None,
        *,
        vocab_size: int | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        seed: int = 0,
    ) -> RowsData:
        """Token ids that you have already, ready for training; no ``setup`` is needed.

        Args:
            train: integer tensor or array (n, length); a list of rows of equal length; a torch
                Dataset of such rows, all of which are read once; or a DataLoader of batches
                (batch, length). A DataLoader's batches are taken as they come: order and size
                are the loader's own, ``seed`` and ``batch_size`` have no say, and ``val`` and
                ``vocab_size`` have to be given. Training with a DataLoader cannot be shared
                among processes. It cannot go on from a checkpoint either, unless the loader has
                ``state_dict`` and ``load_state_dict``, as torchdata's StatefulDataLoader has.
            val: validation rows, as ``train``; a DataLoader is read once, to its end. None: 5% of
                the training rows, at least 1, are set aside as a function of ``seed``. Rows that
                depend on one another, such as windows of one text, are better divided by hand.
            test: test rows, as ``val``. None: the validation rows.
            vocab_size: V; ids are 0 to V - 1. None: the largest id of all rows, and 1.
            batch_size, eval_batch_size, seed: see the class.

        Raises:
            SettingError: a number out of range.
            DataError: rows of unequal length, or none; numbers that are not whole, negative, or
                outside of the vocabulary; what a DataLoader needs, see above.
        """
        from ordo.data.in_memory import RowsData  # which builds upon this class

        return RowsData(train, val, test, vocab_size, batch_size, eval_batch_size, seed)

    def train_rows(self, rank: int, world_size: int) -> Dataset[Batch | Tensor]:
        """Training data set on this rank; ``__getitems__`` gets what the sampler hands out."""
        assert self.train_set is not None
        return self.train_set  # every rank has all rows: the sampler deals them out

    def train_sampler(self, rank: int, world_size: int) -> StepSampler:
        """Order of the training rows on this rank."""
        assert self.train_set is not None
        return StepBatchSampler(len(self.train_set), self.batch_size, self.seed, rank, world_size)

    @abstractmethod
    def decode(self, tokens: Tensor) -> list[str]:
        """Sequences (n, length) as text, one string each; the mask is shown as ``_``."""

    def describe(self) -> dict[str, object]:
        """What the data are, as values for JSON; a subclass adds its name, checksum and the like.

        The number of training sequences is None if nobody has counted them.
        """
        train = None if self.train_set is None else len(self.train_set)
        sizes = (train, len(self.val_set), len(self.test_set))
        return {
            "unit": self.unit,
            "length": self.length,
            "vocab_size": self.vocab_size,
            "sequences": dict(zip(SPLITS, sizes, strict=True)),
            "seed": self.seed,
        }

    def ranks(self) -> tuple[int, int]:
        """(rank, number of processes): the trainer's, else torch.distributed's, else (0, 1)."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1

    def train_dataloader(self) -> StatefulDataLoader:
        """Shuffled full batches; its ``state_dict`` is the position (see ``ordo.data.loader``)."""
        dataset, sampler = self.train_rows(*self.ranks()), self.train_sampler(*self.ranks())
        workers = {"num_workers": self.num_workers, "persistent_workers": self.num_workers > 0}
        return StatefulDataLoader(
            dataset, batch_sampler=sampler, collate_fn=_as_is, pin_memory=self._to_gpu(), **workers
        )

    def _to_gpu(self) -> bool:
        """Whether batches go to a GPU. Copies from pinned memory run beside the computation."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def val_dataloader(self) -> DataLoader[Batch | Tensor]:
        """Validation sequences in order; the last batch may be smaller.

        Ranks take strided slices of equal size.
        """
        return self._ordered(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch | Tensor]:
        """Test sequences, as ``val_dataloader``."""
        return self._ordered(self.test_set)

    def _ordered(self, dataset: Rows) -> DataLoader[Batch | Tensor]:
        rank, world_size = self.ranks()
        # Shares are equal, and up to world_size - 1 sequences left out: a rank with one batch more
        # than the other ranks would wait for them for ever.
        share = max(1, len(dataset) // world_size)
        rows = [(rank + i * world_size) % len(dataset) for i in range(share)]
        batches = BatchSampler(rows, self.eval_batch_size, drop_last=False)
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=_as_is,
            num_workers=self.num_workers,
            pin_memory=self._to_gpu(),
        )
