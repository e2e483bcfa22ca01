"""Given cells of rows that are sampled, and values that all rows get."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.column_names import Name, by_column
from ordo.data.tables.columns import CategoricalColumn, Column, NumericColumn, Value
from ordo.data.tables.kinds import Mark, is_code, plain, typed


@dataclass(frozen=True)
class Conditions:
    """What is given in n rows.

    Args:
        tokens: (n, columns) int64.
        known: (n, columns) bool, which cells are given.
        cells: the columns that the model knows, as they stood in the file or command.
        values: the same columns as numbers and categories.
        others: columns that the model does not know, as they stood. Each comes with the column that
            it stands behind, None for the first place.
        delimiter: of the file.
        notes: lines that a user should see.
    """

    tokens: Tensor
    known: Tensor
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    values: pd.DataFrame = field(default_factory=pd.DataFrame)
    others: list[tuple[str | None, pd.Series]] = field(default_factory=list)
    delimiter: str = ","
    notes: list[str] = field(default_factory=list)

    def merged(self, drawn: pd.DataFrame, text: bool) -> pd.DataFrame:
        """The decoded table with given cells as they were given, not as redrawn from their bins.

        The columns that the model does not know stand in their places.

        Args:
            drawn: the decoded table.
            text: take given cells as they stood, not as what they mean.
        """
        frame, given = drawn.copy(deep=False), self.cells if text else self.values
        for name in given.columns:
            there = self.known[:, list(drawn.columns).index(name)].numpy()
            column, own = frame[name], given[name]
            if holds_numbers(column) and holds_numbers(own):
                merged = column.astype("Float64").mask(there, own.astype("Float64"))
                whole = bool((merged.dropna() == merged.dropna().round()).all())
                frame[name] = (
                    merged.astype("Int64")
                    if whole and str(column.dtype) == "Int64"
                    else merged.astype(float)
                )
            else:
                frame[name] = column.astype(object).mask(there, own.astype(object))
        for behind, values in self.others:
            frame.insert(
                0 if behind is None else list(frame.columns).index(behind) + 1,
                str(values.name),
                values,
            )
        return frame

    def still_missing(self, drawn: pd.DataFrame) -> dict[str, int]:
        """How many cells of each column were drawn as missing, if any."""
        counts = (drawn.isna().to_numpy() & ~self.known.numpy()).sum(0)
        return {
            name: int(count) for name, count in zip(drawn.columns, counts, strict=True) if count
        }


def holds_numbers(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def nothing_given(codec: TableCodec, n: int) -> Conditions:
    """n rows that are drawn whole."""
    empty = torch.zeros(n, len(codec.columns), dtype=torch.int64)
    return Conditions(empty, empty.bool())


def missing_token(column: Column) -> int:
    return column.bins if isinstance(column, NumericColumn) else len(column.categories)


def reads_as(value: object, categories: Collection[Value]) -> Sequence[Value]:
    """The categories that a value may mean.

    They are the value itself; or the categories that read the same; or, for a number or a flag, the
    categories equal to it.
    """
    if isinstance(value, str) and value in categories:
        return [value]
    alike = [c for c in categories if type(c) is type(value) and c == value] or [
        c for c in categories if str(c) == str(value)
    ]
    if alike:
        return alike
    if isinstance(value, bool):
        return [c for c in categories if str(c).lower() == str(value).lower()]
    if isinstance(value, str):
        found = [c for c in categories if isinstance(c, str) and c.strip() == value.strip()]
        # A text means a number only if the column had numbers: 1234 is not the code 01234.
        return found or [c for c in categories if not isinstance(c, str | bool) and equal(c, value)]
    return [c for c in categories if not isinstance(c, bool) and not is_code(c) and equal(c, value)]


def equal(a: Value, b: Any) -> bool:
    """Whether both are the same number."""
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return False


def category(value: object, column: CategoricalColumn) -> object:
    """The category that a cell means.

    If it means none or may mean several, the cell itself, which ``encode`` refuses.
    """
    found = reads_as(value, column.categories)
    return found[0] if len(found) == 1 else value


def given_cells(
    codec: TableCodec, given: Mapping[Name, object] | str, missing: Collection[Mark], n: int
) -> Conditions:
    """The same values in all of n rows.

    A value that means "missing", or null, is a condition like any other if the column had missing
    values in training. Raises DataError.

    Args:
        codec: of the model.
        given: column, by its name or number, -> value; or a YAML file; see ``by_column``.
        missing: strings and numbers that mean "no value".
        n: rows.
    """
    if isinstance(given, Mapping):
        unknown = next(
            (
                name
                for name in given
                if isinstance(name, str) and name not in codec.names and not name.isdigit()
            ),
            None,
        )
        if unknown is not None:
            raise DataError(
                f"given.{unknown}: no such column; the model has {', '.join(codec.names)}"
            )
    cells, values = {}, {}
    start = nothing_given(codec, n)
    for name, value in by_column(given, codec.names, "given", "the model").items():
        i = codec.names.index(name)
        column = codec.columns[i]
        if isinstance(value, Mapping | list | tuple):
            raise DataError(
                f"given: {name!r} gets {value!r}, which is no value; name a column with a dot in "
                "its name by its number, from 1:"
                f" '+given={{{i + 1}: VALUE}}', or use a file, given=FILE.yaml"
            )
        one = plain(pd.Series([value], name=name, dtype=object), missing)
        if one.isna().all():
            if not column.missing:
                raise DataError(
                    f"given.{name}={value} means a missing value, but the column had none in "
                    "training, so that it is no condition; leave"
                    " it out to have the column drawn"
                )
            token, meant = missing_token(column), None
        elif isinstance(column, CategoricalColumn):
            meant = category(one[0], column)
            token = int(column.encode(pd.Series([meant], name=name, dtype=object))[0])
            value = meant
        else:
            meant = float(
                typed(pd.DataFrame({name: [str(value)]}), {name: "numeric"}, missing)[name][0]
            )
            if not column.values[0] <= meant <= column.values[-1]:
                raise DataError(
                    f"given.{name}={meant:g} lies outside of what was seen, {column.values[0]:g} "
                    f"to {column.values[-1]:g}"
                )
            token = int(column.encode(pd.Series([meant], name=name))[0])
        start.tokens[:, i], start.known[:, i] = token, True
        numeric = isinstance(column, NumericColumn)
        values[name] = pd.Series([meant] * n, dtype=float if numeric else object)
        cells[name] = pd.Series([None if meant is None else str(value)] * n, dtype=object)
    return Conditions(start.tokens, start.known, pd.DataFrame(cells), pd.DataFrame(values))
