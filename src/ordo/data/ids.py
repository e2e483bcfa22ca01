"""Sequences of token ids: whole numbers that mean nothing else, in arrays of equal length."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.ids_file import read_ids
from ordo.data.loader import State, data_generator
from ordo.data.module import SPLITS, Rows, SequenceData, evenly
from ordo.data.text.characters import Shares, check_shares, split_bounds
from ordo.settings import Seed, Size, Some, Text, checked

LARGEST = 10**6 - 1  # a larger id is no id, but a number of something else
DTYPES = (np.int16, np.int32)  # the narrowest that holds the ids; batches are int64 all the same


def as_array(value: object, name: str) -> np.ndarray[Any, Any]:
    """A tensor, an array or a sequence of rows as an array, (n, length) if it is as it should be.

    name: what messages call the rows. Raises DataError for rows of unequal length, and for what
    holds no numbers.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        # NumPy has no bfloat16.
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise DataError(
            f"{name}: {type(value).__name__} is no array of ids: give an integer tensor or array "
            "(n, length), or a list of rows of equal length"
        )
    rows = []
    for i, row in enumerate(value):
        try:
            rows.append(np.asarray(row.detach().cpu() if isinstance(row, Tensor) else row))
        except (ValueError, TypeError) as error:  # a list in the row, a tensor without numbers
            raise DataError(f"{name}: row {i} holds something else than numbers") from error
        if rows[i].shape != rows[0].shape:
            sizes = f"length {rows[i].size}, and row 0 length {rows[0].size}"
            raise DataError(
                f"{name}: row {i} has {sizes}: rows must be of equal length; cut the rows, or end "
                "the short rows in an id of their own"
            )
    return np.stack(rows) if rows else np.empty((0, 0), np.int64)


def checked_ids(array: np.ndarray[Any, Any], name: str) -> Tensor:
    """The ids (n, length) as a tensor of their own, of the narrowest dtype from int16 on.

    Raises DataError for anything but whole numbers from 0 in two dimensions.
    """
    if array.dtype.kind not in "iu":
        bad = ""
        if array.dtype.kind == "f" and np.isnan(array).any():
            bad = ", some of them NaN"
        what = "Python objects" if array.dtype.kind == "O" else f"values of {array.dtype}{bad}"
        raise DataError(
            f"{name}: ids are whole numbers, and these are {what}: give an integer array "
            "(n, length)"
        )
    if array.ndim != 2:
        raise DataError(
            f"{name}: the shape is {array.shape}, and ids have two dimensions, (n, length): a row "
            "for every sequence"
        )
    if not array.size:
        raise DataError(f"{name}: there are no ids, the shape is {array.shape}")
    if int(array.min()) < 0:
        raise DataError(f"{name}: {_first(array, array < 0)}: ids are whole numbers from 0")
    largest = int(array.max())
    if largest > LARGEST:
        where = _first(array, array > LARGEST)
        raise DataError(f"{name}: {where}: ids go up to {LARGEST}; number the tokens from 0")
    dtype = next(each for each in DTYPES if largest <= np.iinfo(each).max)
    return torch.from_numpy(array.astype(dtype))  # a copy, of the machine's own byte order


def _first(array: np.ndarray[Any, Any], wrong: np.ndarray[Any, Any]) -> str:
    """Where the first wrong id stands, and the id."""
    row, position = np.argwhere(wrong)[0].tolist()
    return f"row {row}, position {position} has the id {array[row, position]}"


def check_vocabulary(ids: Tensor, vocab_size: int, name: str) -> None:
    """Raises DataError for an id (n, length) that is not below ``vocab_size``."""
    if int(ids.max()) >= vocab_size:
        array = ids.numpy()
        raise DataError(
            f"{name}: {_first(array, array >= vocab_size)}, outside of vocab_size={vocab_size}: "
            f"ids are 0 to {vocab_size - 1}"
        )


def vocabulary_of(rows: Mapping[str, Tensor], vocab_size: int | None) -> int:
    """The vocabulary's size: the largest id, and 1, unless ``vocab_size`` says more.

    rows: what messages call the ids -> ids (n, length). Raises DataError for an id outside.
    """
    for name, ids in rows.items():
        if vocab_size is not None:
            check_vocabulary(ids, vocab_size, name)
    return vocab_size or 1 + max(int(ids.max()) for ids in rows.values())


class IdSequences(SequenceData):
    """Base of data that are token ids and nothing else; see ``SequenceData``.

    Samples are shown as ids with spaces between them.
    """

    unit, entropy, precedence = "token", None, None

    def use(self, splits: Mapping[str, Tensor], vocab_size: int, name: str) -> None:
        """Takes length and vocabulary.

        Args:
            splits: names of ``SPLITS`` -> ids (n, length).
            name: what messages call the data.
        Raises DataError for splits of several lengths.
        """
        lengths = {split: ids.shape[1] for split, ids in splits.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} ({split})" for split, length in lengths.items())
            raise DataError(f"{name}: sequences must be of one length, these have {told}")
        self.length, self.vocab_size = next(iter(lengths.values())), vocab_size

    def decode(self, tokens: Tensor) -> list[str]:
        """Sequences (n, length) as ids with spaces between them; the mask is ``_``."""
        return ids_as_text(tokens, self.vocab_size)

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints: ``vocab_size``."""
        return {"vocab_size": self.vocab_size}

    def load_state_dict(self, state_dict: State) -> None:
        """Checks that the checkpoint has as many ids. Raises DataError."""
        if state_dict["vocab_size"] != self.vocab_size:
            raise DataError(
                f"the checkpoint was trained with vocab_size={state_dict['vocab_size']}, these "
                f"ids have {self.vocab_size}; set data.vocab_size to the checkpoint's"
            )


def ids_as_text(tokens: Tensor, vocab_size: int) -> list[str]:
    """Sequences (n, length) as ids with spaces between them; the mask, ``vocab_size``, is ``_``."""
    return [
        " ".join("_" if token == vocab_size else str(token) for token in row)
        for row in tokens.tolist()
    ]


@checked
class IdsData(IdSequences):
    """Token ids of your own, from a file; see ``SequenceData`` for what it offers.

    A file without splits of its own is shuffled, as a function of ``split_seed`` and the number of
    rows, and divided. So no order in the file, such as by date or class, ends up in one split. But
    rows that depend on one another, such as windows of one text or copies, then stand in several
    splits, and the loss on held-out rows comes out too low: divide such rows yourself, into the
    arrays train, val and test of an .npz file.

    Beyond ``SequenceData``: ``notes``, lines on what was not given and taken from the file.

    Args:
        path: an .npy file of an integer array (n, length); an .npz file of one such array, or of
            train, val and test; a Parquet file with a column of lists of equal length.
        column: of a Parquet file with several columns of lists; None: the only one.
        vocab_size: V; ids are 0 to V - 1. None: the largest id of the file, and 1.
        split: shares of train, validation and test; of no effect where the file has splits.
        split_seed: of the split, and of nothing else.
        limit_eval: use only so many validation and test rows, evenly spaced; None: all.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: shares that do not sum to 1 (at once); a file that is unfit (in ``setup``).
        MissingDataError: no such file.
    """

    places = ("path",)

    def __init__(
        self,
        path: Text,
        column: Text | None = None,
        vocab_size: Size | None = None,
        split: Shares = (0.9, 0.05, 0.05),
        split_seed: Seed = 0,
        limit_eval: Size | None = None,
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        check_shares(split)
        self.file, self.column, self.wanted_size = Path(path), column, vocab_size
        self.split, self.split_seed, self.limit_eval = split, split_seed, limit_eval
        self.notes: list[str] = []

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks and splits the ids; a second call does nothing."""
        if hasattr(self, "test_set"):
            return
        arrays = read_ids(self.file, self.column)
        whole = "all" in arrays
        names = {each: str(self.file) if whole else f"{self.file}, {each} rows" for each in arrays}
        splits = {each: checked_ids(array, names[each]) for each, array in arrays.items()}
        size = vocabulary_of({names[each]: ids for each, ids in splits.items()}, self.wanted_size)
        if whole:
            splits = self._divided(splits["all"])
        self.use(splits, size, str(self.file))
        if self.wanted_size is None:
            self.notes = [
                f"data.vocab_size={size}: the largest id of {self.file} is {size - 1}; give "
                "data.vocab_size if there are more"
            ]
        with self.file.open("rb") as file:
            self.md5 = hashlib.file_digest(file, "md5").hexdigest()
        self.own_splits = not whole
        self.train_set = Rows(splits["train"])
        self.val_set, self.test_set = (
            Rows(splits[name][evenly(len(splits[name]), self.limit_eval)]) for name in SPLITS[1:]
        )

    def _divided(self, ids: Tensor) -> dict[str, Tensor]:
        bounds = split_bounds(len(ids), self.split)
        if not all(a < b for a, b in pairwise(bounds)):
            raise DataError(
                f"{self.file} has {len(ids)} rows, too few for a split of {list(self.split)}"
            )
        order = torch.randperm(len(ids), generator=data_generator(0x1D5, self.split_seed))
        return {
            name: ids[order[a:b]] for name, (a, b) in zip(SPLITS, pairwise(bounds), strict=True)
        }

    def describe(self) -> dict[str, object]:
        return {
            "name": self.file.name,
            "md5": self.md5,
            **super().describe(),
            "split": "of the file" if self.own_splits else list(self.split),
            "split_seed": self.split_seed,
            "notes": self.notes,
        }
