"""Sequences of token ids: whole numbers that mean nothing else, in arrays of equal length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.loader import State
from ordo.data.module import SPLITS, SequenceData

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
            sizes = f"{rows[i].size} ids, and row 0 has {rows[0].size}"
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


class IdSequences(SequenceData):
    """Base of data that are token ids and nothing else; see ``SequenceData``.

    Samples are shown as ids with spaces between them.
    """

    unit, entropy, precedence = "token", None, None

    def use(self, splits: Mapping[str, Tensor], vocab_size: int | None, name: str) -> None:
        """Takes length and vocabulary from the ids of all splits, (n, length) each.

        Args:
            splits: names of ``SPLITS`` -> ids.
            vocab_size: None: the largest id, and 1.
            name: what messages call the data.
        Raises DataError for splits of several lengths, and ids outside of the vocabulary.
        """
        lengths = {split: ids.shape[1] for split, ids in splits.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} ({split})" for split, length in lengths.items())
            raise DataError(f"{name}: sequences must be of one length, these have {told}")
        self.length = next(iter(lengths.values()))
        self.vocab_size = vocab_size or 1 + max(int(ids.max()) for ids in splits.values())
        for split in SPLITS:
            if split in splits:
                check_vocabulary(splits[split], self.vocab_size, f"{name}, {split} rows")

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
