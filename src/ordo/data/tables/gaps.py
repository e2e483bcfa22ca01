"""Files with gaps: their cells are given, and empty cells are drawn."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import torch

from ordo.data.errors import DataError
from ordo.data.loader import State
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.columns import CategoricalColumn, NumericColumn
from ordo.data.tables.conditions import Conditions, category, nothing_given
from ordo.data.tables.csv_file import (
    DELIMITERS,
    argument,
    even,
    head,
    read_cells,
    read_text,
    shown,
    split,
    unescaped,
)
from ordo.data.tables.frames import as_frame, read_table
from ordo.data.tables.kinds import typed


def read_gaps(
    path: str | Path, codec: TableCodec, reading: State, delimiter: str | None
) -> tuple[pd.DataFrame, str, list[str]]:
    """The table of a file with gaps, its delimiter, and notes.

    A CSV file has a header. It may lack one only if the model's training table had none; the file
    then has that table's columns. If no delimiter is given, it is the training table's. If the
    header then has no column of the model, it is the one other delimiter that gives the header such
    a column.

    Raises DataError.
    """
    path = Path(path)
    own = unescaped(delimiter if delimiter is not None else reading["delimiter"], "delimiter")
    if path.suffix.lower() in (".parquet", ".pq") or not path.is_file():
        return read_table(path, key=""), own, []
    text, notes = read_text(path), []
    if delimiter is None:
        fits = [
            d
            for d in DELIMITERS
            if even(head(text), d) and set(split(head(text), d, str(path))[0][0]) & set(codec.names)
        ]
        if own not in fits and not (not reading["header"] and even(head(text), own) > 1) and fits:
            if len(fits) > 1:
                choices = " or ".join(argument("delimiter", each) for each in fits)
                raise DataError(f"{path} may have several delimiters: say which, {choices}")
            own = fits[0]
            notes.append(
                f"{path} is read with delimiter={shown(own)}, which the training table had not"
            )
    rows = read_cells(text, own, str(path), "delimiter")
    header = bool(set(rows[0]) & set(codec.names)) or reading["header"]
    columns = reading.get("columns")
    if not header and columns is not None and len(rows[0]) != len(columns):
        raise DataError(
            f"{path} has {len(rows[0])} columns and no header, the training table had "
            f"{len(columns)}: complete it, or give it a header"
            f" of their names, {columns[0]} and so on"
        )
    return as_frame(rows, header, str(path), ""), own, notes


def close(name: str, lacking: Collection[str]) -> str | None:
    """A lacking column that a name is probably meant to be."""
    alike = [each for each in lacking if each.casefold().strip() == name.casefold().strip()]
    return next(iter(alike or difflib.get_close_matches(name, lacking, 1, 0.8)), None)


def file_cells(
    codec: TableCodec, path: str | Path, reading: State, delimiter: str | None = None
) -> Conditions:
    """The cells of a file. Empty cells, and columns that the file lacks, are to be drawn.

    Args:
        codec: of the model.
        path: the file.
        reading: how the training table was read.
        delimiter: of the file; None: see ``read_gaps``.

    Raises DataError.
    """
    raw, own, notes = read_gaps(path, codec, reading, delimiter)
    there = [name for name in raw.columns if name in codec.names]
    foreign = [name for name in raw.columns if name not in codec.names]
    lacking = [name for name in codec.names if name not in there]
    if not there:
        found = ", ".join(map(repr, raw.columns[:20]))
        raise DataError(
            f"{path} has no column of the model; it has {found}, the model {', '.join(codec.names)}"
        )
    dropped = reading.get("columns") or ()
    for name in foreign:
        meant = close(name, lacking)
        if meant is not None and name not in dropped:
            raise DataError(
                f"{path} has the column {name!r}, which the model has not, and lacks {meant!r}: "
                "rename it, or take it out"
            )
    if foreign:
        notes.append(
            f"{path}: columns that the model does not know, kept as they are: {', '.join(foreign)}"
        )
    if lacking:
        notes.append(f"{path} lacks columns, which are drawn for every row: {', '.join(lacking)}")
    cells = raw[there]
    values = typed(
        cells, {name: codec.kinds[name] for name in there}, reading["missing"], str(path)
    )
    start = nothing_given(codec, len(raw))
    for i, column in enumerate(codec.columns):
        if column.name not in there:
            continue
        present = values[column.name].dropna()
        if isinstance(column, CategoricalColumn):
            present = present.map({value: category(value, column) for value in present.unique()})
            values[column.name] = (
                values[column.name].astype(object).mask(values[column.name].notna(), present)
            )
        elif note := outside(present, column, str(path)):
            notes.append(note)
        at = torch.tensor(present.index.tolist(), dtype=torch.int64)
        start.known[at, i], start.tokens[at, i] = True, torch.from_numpy(column.encode(present))
    behind = [name if name in codec.names else None for name in raw.columns]
    others, last = [], None
    for name, model in zip(raw.columns, behind, strict=True):
        if model is None:
            others.append((last, raw[name]))
        last = name
    return Conditions(start.tokens, start.known, cells, values, others, own, notes)


def outside(numbers: pd.Series, column: NumericColumn, name: str) -> str | None:
    """A line on numbers outside the range seen in training; None: there are none."""
    low, high = column.values[0], column.values[-1]
    far = numbers[(numbers < low) | (numbers > high)]
    if far.empty:
        return None
    most = far[(far - (low + high) / 2).abs().idxmax()]
    return (
        f"{name}: {len(far)} value{'s' if len(far) > 1 else ''} of {column.name!r}, such as "
        f"{most:g}, outside of what was seen, {low:g} to"
        f" {high:g}: the model takes them for the nearest values that it knows"
    )
