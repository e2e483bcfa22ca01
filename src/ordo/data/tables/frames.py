"""Reading tables: a CSV or Parquet file becomes a DataFrame of cells as they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from ordo.data.errors import DataError, MissingDataError
from ordo.data.tables.csv_file import argument, read_cells, read_text, shown, unescaped

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")


def read_table(
    path: str | Path, header: bool = True, delimiter: str = ",", key: str = "data."
) -> pd.DataFrame:
    """A CSV file as strings without blanks around them, or a Parquet file (by its suffix) as it is.

    Without a header columns are called column_1, column_2, ... Empty lines are skipped; in the
    middle of a single column they are missing values. A last column without a name and without a
    value, which a delimiter at the end of every line makes, is left out.

    key: what stands before the settings header and delimiter, for messages.

    Raises:
        MissingDataError: no such file.
        DataError: an empty or malformed file, one that another delimiter fits better, no rows,
            duplicate or empty column names, a header that looks like data, or data that look like a
            header.
    """
    path = Path(path)
    if not path.is_file():
        what = f"check {key}path" if key else "check the name"
        raise MissingDataError(f"no such file: {path} (working folder {Path.cwd()}); {what}")
    if path.suffix.lower() in (".parquet", ".pq"):
        return check_frame(read_parquet(path), str(path))
    delimiter = unescaped(delimiter, f"{key}delimiter")
    text = read_text(path)
    if said := re.match(r"sep=(.)\r?\n", text):  # a line that spreadsheets write and read
        if said[1] != delimiter:
            said_so = argument(f"{key}delimiter", said[1])
            raise DataError(
                f"{path} says that it has {key}delimiter={shown(said[1])}: add {said_so}"
            )
        text = text[said.end() :]
    return as_frame(
        read_cells(text, delimiter, str(path), f"{key}delimiter"), header, str(path), key
    )


def read_parquet(path: Path) -> pd.DataFrame:
    """The table of a Parquet file, with a named index as columns. Raises DataError."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again, or "
            "use CSV"
        ) from error
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index() if named and len(named) == frame.index.nlevels else frame


def as_frame(rows: list[list[str]], header: bool, name: str, key: str = "data.") -> pd.DataFrame:
    """Rows of texts as a table. Raises DataError as ``read_table`` does."""
    if header:
        names, *rows = rows
        check_header(names, rows, name, key)
        ended = len(names) > 1 and names[-1] == "" and all(row[-1] == "" for row in rows)
        if ended:
            names, rows = names[:-1], [row[:-1] for row in rows]
    else:
        names = [f"column_{i + 1}" for i in range(len(rows[0]))]
        check_first_row(rows, name, key)
    return check_frame(pd.DataFrame(rows, columns=names, dtype=object), name)


def is_number(cell: object) -> bool:
    return bool(np.isfinite(pd.to_numeric(cast("str | float", cell), errors="coerce")))


def check_header(names: Sequence[str], rows: Sequence[Sequence[str]], name: str, key: str) -> None:
    """Raises DataError if the first row looks like data rather than names."""
    without = f"say {key}header=false" if key else "put one above the rows"
    numbers = [each for each in names if is_number(each)]
    if numbers:
        raise DataError(
            f"{name}: the header has names that are numbers ({', '.join(numbers[:3])}): it is "
            f"missing ({without}), or give these columns names"
        )
    again = next((i for i, row in enumerate(rows) if list(row) == list(names) and any(row)), None)
    if again is not None:
        raise DataError(
            f"{name}: row {again + 1} is the same as the header: take a header that stands amidst "
            "the rows away, or, if there is none, "
            f"{without}"
        )


def check_first_row(rows: Sequence[Sequence[str]], name: str, key: str) -> None:
    """Raises DataError if the first row looks like names: if it has the only text above numbers."""
    for first, *others in zip(*rows, strict=True):
        present = [cell for cell in others if cell not in MISSING]
        if (
            first not in MISSING
            and not is_number(first)
            and present
            and all(map(is_number, present))
        ):
            mend = f"say {key}header=true" if key else "its names must be the model's"
            raise DataError(
                f"{name}: the first row has {first!r} above nothing but numbers: if it is a "
                f"header, {mend}"
            )


def check_frame(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with names as strings and rows numbered from 0.

    Raises DataError for no rows, no columns, and duplicate or empty names.
    """
    if frame.columns.nlevels > 1:
        raise DataError(f"{name} has column names of several levels; make them plain strings")
    frame = frame.rename(columns=str).reset_index(drop=True)
    duplicates = frame.columns[frame.columns.duplicated()].tolist()
    if duplicates:
        raise DataError(
            f"{name}: column name {duplicates[0]!r} occurs more than once; rename one of them"
        )
    if "" in frame.columns:
        raise DataError(
            f"{name}: column {list(frame.columns).index('') + 1} has no name; name it (an index is "
            "best left out of the file)"
        )
    if frame.empty:
        raise DataError(
            f"{name} has no rows under its header" if frame.shape[1] else f"{name} is empty"
        )
    return frame
