"""Sequences that the caller has already: tensors, arrays, lists, data sets and loaders of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ordo.data.errors import DataError
from ordo.data.ids import IdSequences, as_array, check_vocabulary, checked_ids, vocabulary_of
from ordo.data.loader import State, StepSampler, data_generator
from ordo.data.module import SPLITS, Rows
from ordo.settings import Seed, Size, checked

RowSource = Tensor | np.ndarray[Any, Any] | Sequence[Any] | Dataset[Any] | DataLoader[Any]
SET_ASIDE = 0.05  # share of the rows that becomes validation rows where none are given


@checked
class RowsData(IdSequences):
    """Rows of ids in memory, or training batches of a DataLoader; see ``SequenceData.of``.

    ``test_is_validation`` says that no test rows were given.
    """

    def __init__(
        self,
        train: Any,
        val: Any,
        test: Any,
        vocab_size: Size | None,
        batch_size: Size,
        eval_batch_size: Size | None,
        seed: Seed,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers=0)
        self.loader: DataLoader[Any] | None = None
        if isinstance(train, DataLoader):
            self.loader = train
            if val is None or vocab_size is None:
                lacking = "val" if val is None else "vocab_size"
                raise DataError(
                    f"train is a DataLoader, of which no rows are read beforehand: give {lacking}, "
                    "or give the rows themselves"
                )
        splits: dict[str, Tensor] = {}
        for split, source in zip(SPLITS, (train, val, test), strict=True):
            if source is not None and source is not self.loader:
                splits[split] = checked_ids(array_of(source, split), f"{split} rows")
        size = vocabulary_of({f"{name} rows": ids for name, ids in splits.items()}, vocab_size)
        if val is None:
            kept, aside = set_aside(len(splits["train"]), seed)
            rows = splits["train"]
            splits["train"], splits["validation"] = rows[kept], rows[aside]
        self.test_is_validation = test is None
        splits.setdefault("test", splits["validation"])
        self.use(splits, size, "the data")
        self.train_set = None if self.loader is not None else Rows(splits["train"])
        self.val_set, self.test_set = Rows(splits["validation"]), Rows(splits["test"])
        self._md5 = hashlib.md5()
        for split in SPLITS:
            self._md5.update(splits[split].numpy().tobytes() if split in splits else b"")

    def train_dataloader(self) -> Any:
        """Shuffled full batches of the rows; or the batches of the DataLoader, as they come.

        Raises DataError for a DataLoader and several processes.
        """
        if self.loader is None:
            return super().train_dataloader()
        if self.ranks()[1] > 1:
            raise DataError(
                "a DataLoader gives every process the same batches: give the rows themselves, "
                "which are shared out among processes"
            )
        return LoaderBatches(self.loader, self.length, self.vocab_size)

    def train_sampler(self, rank: int, world_size: int) -> StepSampler:
        """Order of the training rows; a DataLoader's order is its own, and here is no more than
        that said.
        """
        if self.loader is None:
            return super().train_sampler(rank, world_size)
        return StepSampler(1, {"order": "of a DataLoader"})

    def describe(self) -> dict[str, object]:
        return {
            "name": "rows" if self.loader is None else "DataLoader",
            "md5": self._md5.hexdigest(),
            **super().describe(),
            "test_is_validation": self.test_is_validation,
        }


class LoaderBatches:
    """The batches of a DataLoader as tokens (batch, length) int64, each checked as it comes.

    A batch is an integer tensor (batch, length), or a tuple or list that holds only such a tensor,
    as of a ``TensorDataset``. Iterating raises DataError for another batch.
    """

    def __init__(self, loader: DataLoader[Any], length: int, vocab_size: int) -> None:
        self.loader, self.length, self.vocab_size = loader, length, vocab_size

    def __len__(self) -> int:
        """Batches of a pass. Raises TypeError for a stream, which does not say so."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Tensor]:
        for i, batch in enumerate(self.loader):
            name = f"batch {i} of the DataLoader"
            ids = checked_ids(as_array(row_of(batch), name), name)
            if ids.shape[1] != self.length:
                raise DataError(
                    f"{name}: the shape is {tuple(ids.shape)}, and sequences have length "
                    f"{self.length}"
                )
            check_vocabulary(ids, self.vocab_size, name)
            yield ids.long()

    def state_dict(self) -> State:
        """Position of a loader that can say so, such as torchdata's StatefulDataLoader."""
        state = getattr(self.loader, "state_dict", None)
        return {} if state is None else state()

    def load_state_dict(self, state_dict: State) -> None:
        """Goes to a saved position. Raises DataError for a loader without positions."""
        load = getattr(self.loader, "load_state_dict", None)
        if load is None:
            raise DataError(
                "training cannot go on from a checkpoint with a DataLoader, which cannot say or "
                "find the batch that comes next: give the rows themselves, or torchdata's "
                "StatefulDataLoader"
            )
        load(state_dict)


def row_of(item: Any) -> Any:
    """The row, or the batch, alone: torch's data sets wrap what they hold in a tuple or list."""
    alone = isinstance(item, tuple | list) and len(item) == 1 and np.ndim(item[0]) > 0
    return item[0] if alone else item


def array_of(source: RowSource, split: str) -> np.ndarray[Any, Any]:
    """All rows of a source, (n, length). A DataLoader must have an end.

    Raises DataError for what has no rows.
    """
    name = f"{split} rows"
    if isinstance(source, DataLoader):
        batches = [as_array(row_of(batch), name) for batch in source]
        if len({batch.shape[1:] for batch in batches}) != 1:
            shapes = sorted({str(batch.shape) for batch in batches}) or "none"
            raise DataError(f"{name}: a DataLoader's batches must be (batch, length), got {shapes}")
        return np.concatenate(batches)
    if isinstance(source, IterableDataset):
        raise DataError(
            f"{name}: an IterableDataset gives no rows by number: put it into a DataLoader"
        )
    if isinstance(source, Dataset):
        if not hasattr(source, "__len__"):
            raise DataError(f"{name}: the {type(source).__name__} has no __len__")
        try:
            rows = [row_of(source[i]) for i in range(len(cast(Sized, source)))]
        except NotImplementedError as error:
            raise DataError(f"{name}: the {type(source).__name__} has no __getitem__") from error
        return as_array(rows, name)
    return as_array(source, name)


def set_aside(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on, and rows for validation, each int64 in ascending order.

    Validation gets ``SET_ASIDE`` of n rows, at least 1, as a function of n and the seed. Raises
    DataError for fewer than two rows.
    """
    if n < 2:
        raise DataError(f"train has {n} row: give two at least, or val")
    many = max(1, round(SET_ASIDE * n))
    order = torch.randperm(n, generator=data_generator(0x1D5, seed))
    return order[many:].sort().values, order[:many].sort().values
