"""Files of token ids: arrays of NumPy, and a column of lists in a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ordo.data.errors import DataError, MissingDataError
from ordo.errors import first_line

Array = np.ndarray[Any, Any]
NUMPY, PARQUET = (".npy", ".npz"), (".parquet", ".pq")
NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def read_ids(path: Path, column: str | None = None) -> dict[str, Array]:
    """The arrays of a file, as they stand there: by split, or one array under the name ``all``.

    Args:
        path: an .npy file; an .npz file with one array, or with the arrays train, val and test; a
            .parquet file with a column of lists of equal length. Nothing in the file is executed.
        column: of a Parquet file; None: its only column of lists.

    Raises:
        MissingDataError: no such file.
        DataError: another kind of file, a damaged file, Python objects in the place of numbers,
            other arrays; no such column, several columns of lists, lists of unequal length.
    """
    if not path.is_file():
        raise MissingDataError(
            f"no such file: {path} (working folder {Path.cwd()}); give data.path=FILE"
        )
    kind = path.suffix.lower()
    if kind not in NUMPY + PARQUET:
        raise DataError(f"{path}: ids are read from .npy, .npz or .parquet; choose such a file")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty: the file has no bytes")
    if kind in PARQUET:
        return {"all": _column(path, column)}
    if column is not None:
        raise DataError(f"data.column={column!r}: columns are of a Parquet file, not of {path}")
    arrays = _arrays(path)
    if len(arrays) == 1:
        return {"all": next(iter(arrays.values()))}
    splits = {NAMES[name]: array for name, array in arrays.items() if name in NAMES}
    if len(splits) != 3 or len(arrays) != 3:
        raise DataError(
            f"{path} has the arrays {', '.join(arrays) or 'none'}: it needs one array, or train, "
            "val and test"
        )
    return splits


def _arrays(path: Path) -> dict[str, Array]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"all": found}
        with found:
            return {name: found[name] for name in found.files}
    except Exception as error:  # a damaged header makes errors of many kinds
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    told = first_line(error)
    if "Object arrays" in told:
        return DataError(
            f"{path} holds Python objects, such as rows of unequal length, which are not read: "
            "save an integer array (n, length)"
        )
    if "pickled" in told:
        return DataError(f"{path} is no file of NumPy: write it by np.save or np.savez")
    return DataError(f"{path} cannot be read: it is truncated or damaged ({told}); write it again")


def _column(path: Path, column: str | None) -> Array:
    """A column of lists as an array (n, length). Raises DataError."""
    try:
        schema = pq.read_schema(path)
        lists = [field.name for field in schema if _is_list(field.type)]
        if column is None and len(lists) != 1:
            have = f"the columns of lists {', '.join(lists)}" if lists else "no column of lists"
            mend = "name one, data.column=NAME" if lists else "ids are rows of whole numbers"
            raise DataError(f"{path} has {have}: {mend}")
        name = lists[0] if column is None else column
        if name not in lists:
            have = f"its columns of lists are {', '.join(lists) or 'none'}"
            raise DataError(f"data.column={name!r} is no column of lists in {path}; {have}")
        read = pq.read_table(path, columns=[name]).column(0)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet: it is truncated or damaged ({first_line(error)}); "
            "write it again"
        ) from error
    lengths = pc.call_function(
        "list_value_length", [read]
    ).to_numpy()  # float with NaN where a list is missing
    if not len(lengths):
        return np.empty((0, 0), np.int64)
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd) or np.isnan(lengths[0]):
        i = 0 if np.isnan(lengths[0]) else int(odd[0])
        size = "no list" if np.isnan(lengths[i]) else f"length {int(lengths[i])}"
        beside = f", and row 0 length {int(lengths[0])}" if i else ""
        raise DataError(
            f"{path}, column {name!r}: row {i} has {size}{beside}: rows must be of equal length; "
            "cut the rows, or end the short rows in an id of their own"
        )
    flat = pc.call_function("list_flatten", [read])
    if flat.null_count:
        raise DataError(f"{path}, column {name!r}: ids are missing, {flat.null_count} in all")
    return flat.to_numpy().reshape(len(lengths), -1)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
