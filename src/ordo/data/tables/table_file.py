"""Tables that samples are written to: columns in their types, cells that read back equal."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa

from ordo.data.errors import DataError
from ordo.data.tables.codec import TableCodec
from ordo.files import write_whole


def in_own_types(frame: pd.DataFrame, codec: TableCodec, text: bool) -> pd.DataFrame:
    """Columns in the types that they had in the training table, if that changes no value.

    text: the frame will be written as text, in which whole numbers stay whole whatever their type
    was.
    """
    out = frame.copy(deep=False)
    for column in codec.columns:
        if column.name not in frame.columns or column.dtype is None:
            continue
        values = frame[column.name]
        if text and (str(values.dtype) == "Int64" or column.dtype in ("category", "object")):
            continue
        out[column.name] = as_type(values, column.dtype)
    return out


def as_type(values: pd.Series, dtype: str) -> pd.Series:
    """The values in a type; unchanged if the type cannot hold all of them.

    Whole numbers with gaps become Int64, flags with gaps boolean.
    """
    wanted = [dtype]
    if values.isna().any() and dtype[:3] in (
        "int",
        "uin",
        "boo",
    ):  # numpy's types have no missing value; pandas' ones have
        wanted = [
            "boolean" if dtype[:3] == "boo" else dtype.replace("int", "Int").replace("uInt", "UInt")
        ]
    for each in wanted:
        try:
            cast = values.astype(pd.api.types.pandas_dtype(each))
        except (TypeError, ValueError, OverflowError):
            continue
        present = values.notna()
        if (cast.isna() == values.isna()).all() and same(cast[present], values[present], each):
            return cast
    return values


def same(a: pd.Series, b: pd.Series, dtype: str) -> bool:
    """Whether all values are equal; numbers as exactly as the type can hold them."""
    precision = {"float32": np.float32, "float16": np.float16}.get(dtype.lower())
    if precision is not None:
        numbers, eps = b.to_numpy(np.float64), float(np.finfo(precision).eps)
        return bool((np.abs(a.to_numpy(np.float64) - numbers) <= eps * np.abs(numbers)).all())
    return a.astype(object).tolist() == b.astype(object).tolist()


def write_table(path: Path, frame: pd.DataFrame, delimiter: str = ",") -> None:
    """Writes a Parquet file (by its suffix), else a CSV file. The file appears whole or not at all.

    ``ordo.data.tables.frames.read_table`` reads it back. Raises DataError for a column that Parquet
    cannot hold.
    """
    if path.suffix == ".parquet":
        try:
            write_whole(path, frame.to_parquet)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"{path}: a column has values of several types ({str(error).splitlines()[0]}); "
                "write a .csv"
            ) from None
        return

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="") as file:
            # A line end of two characters puts a cell with either of them between quotes.
            # Only \n is written.
            writer = csv.writer(_Lines(file), delimiter=delimiter, lineterminator="\r\n")
            writer.writerow([str(name) for name in frame.columns])
            columns = [cells(frame[name]) for name in frame.columns]
            writer.writerows(zip(*columns, strict=True))

    write_whole(path, write)


class _Lines:
    """A file in which every written row ends in one character."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, row: str) -> None:
        self.file.write(row.removesuffix("\r\n") + "\n")


def cells(values: pd.Series) -> list[str]:
    """Cells as pandas writes them: nothing if missing, numbers as short as reading allows."""
    missing = values.isna()
    if str(values.dtype).lower() == "float32":
        return ["" if gone else str(np.float32(v)) for v, gone in zip(values, missing, strict=True)]
    return ["" if gone else str(v) for v, gone in zip(values, missing, strict=True)]
