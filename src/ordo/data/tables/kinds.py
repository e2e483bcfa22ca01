"""Kinds of columns: cells of a table become numbers (float64) or categories (object)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ordo.data.errors import DataError
from ordo.data.tables.column_names import by_column, setting
from ordo.data.tables.columns import Value
from ordo.data.tables.frames import MISSING
from ordo.data.tables.number_formats import first_of, is_date

Mark = str | int | float  # means "no value"
Kind = Literal["numeric", "categorical", "drop"]
KINDS = get_args(Kind)
FEW = 10  # a column of so few different whole numbers is read as categories
MANY = 1000  # a column of more categories is refused: it is an identifier, a date or free text
EXACT = 2**53  # whole numbers beyond this one are not exact in float64


def typed(
    frame: pd.DataFrame,
    types: Mapping[Any, str] | str | None = None,
    missing: Collection[Mark] = MISSING,
    name: str = "the table",
) -> pd.DataFrame:
    """Columns as float64 (numeric) or object (categorical: str, int, float, bool).

    A missing value is NaN or None. Kinds are inferred. Numbers are numeric, with two exceptions:
    all are whole and at most ten are distinct; or some begin with a superfluous zero (codes). These
    two and everything else are categorical.

    Args:
        frame: the table.
        types: column, by its name or its number from 1, -> "numeric", "categorical" or "drop",
            which overrides the inferred kind; or a YAML file of such lines.
        missing: strings and numbers that mean "no value".
        name: of the table, for messages.

    Raises:
        DataError: a type for no column, an unknown type, a column without any value, with numbers
            and other text mixed, with numbers or dates in a format that is not read as such, with
            infinite numbers or whole ones beyond 2^53, with objects other than numbers and strings,
            or with over a thousand categories.
    """
    columns = [str(column) for column in frame.columns]
    kinds = by_column(types, columns, "data.types", name)
    missing = [missing] if isinstance(missing, str) else list(missing)
    for column, kind in kinds.items():
        if kind not in KINDS:
            raise DataError(f"data.types: {column!r} is to be {kind!r}; choose {', '.join(KINDS)}")
    kept = [column for column in columns if kinds.get(column) != "drop"]
    if not kept:
        raise DataError(f"{name}: every column is dropped; leave at least one")
    return pd.DataFrame(
        {
            column: _typed_column(frame[column], kinds.get(column), missing, columns)
            for column in kept
        }
    )


def no_value(column: object, columns: Sequence[str] = ()) -> DataError:
    return DataError(
        f"column {column!r} has no value at all; drop it: {setting(column, 'drop', columns)}"
    )


def plain(values: pd.Series, missing: Collection[Mark], columns: Sequence[str] = ()) -> pd.Series:
    """Cells as str, int, float or bool, None if missing. Raises DataError for other objects."""
    values = values.astype(object).where(values.notna(), None)
    texts = {str(m) for m in missing}
    numbers = {float(m) for m in missing if isinstance(m, int | float)}
    if all(type(cell) is str or cell is None for cell in values):  # the usual case, and faster
        return values.where(~values.isin(texts), None)

    def one(cell: object) -> Value | None:
        cell = (
            cell.item()
            if isinstance(cell, np.generic)
            else float(cell)
            if isinstance(cell, Decimal)
            else cell
        )
        if isinstance(cell, str):
            return None if cell in texts else cell
        if isinstance(cell, bool):
            return cell
        if isinstance(cell, int | float):
            return None if cell in numbers else cell
        raise DataError(
            f"column {values.name!r} holds {type(cell).__name__} objects, such as {cell!r}: turn "
            "them into numbers or strings first, or "
            f"drop it: {setting(values.name, 'drop', columns)}"
        )

    return values.map(one, na_action="ignore").astype(object)


def is_code(cell: object) -> bool:
    """Whether a cell is digits with a superfluous zero before them, such as 00123."""
    digits = cell.lstrip("+-") if isinstance(cell, str) else ""
    return len(digits) > 1 and digits[0] == "0" and digits.isdigit()


def _typed_column(
    values: pd.Series, kind: str | None, missing: Collection[Mark], columns: Sequence[str]
) -> pd.Series:
    column = values.name
    values = plain(values, missing, columns)
    present = values.dropna()
    if present.empty and kind is None:
        raise no_value(column, columns)
    if present.empty:  # rows for a codec that was fitted on others
        return values.astype(np.float64 if kind == "numeric" else object)

    def where(chosen: pd.Series) -> str:
        return f"row {present.index[int(chosen.to_numpy().argmax())] + 1}"

    flags = present.map(lambda v: isinstance(v, bool))
    numbers = pd.to_numeric(present, errors="coerce").astype(np.float64)
    numeric = numbers.notna()
    distinct = len(set(map(str, present.unique())))
    if flags.any() and not flags.all() and (numeric & ~flags).any() and kind != "numeric":
        raise DataError(
            f"column {column!r} holds flags and numbers, in {where(numeric & ~flags)}: True is 1 "
            "there; make them all alike"
        )
    if distinct < present.nunique() and kind != "numeric" and not numeric.all():
        raise DataError(
            f"column {column!r} holds numbers and texts that read the same, such as 1 and '1'; "
            "make them all alike"
        )
    if kind != "categorical" and not numeric.all():
        check_writings(present[~numeric], len(present), column, kind, columns)
    if kind is None and not numeric.all() and numeric.mean() >= 0.5 and distinct > FEW:
        raise DataError(
            f"column {column!r}: {numeric.sum()} of {len(present)} values are numbers, but "
            f"{where(~numeric)} holds {present[~numeric].iloc[0]!r}; mend it, add it to "
            f"data.missing, or say {setting(column, 'categorical', columns)}"
        )
    if kind == "numeric" and not numeric.all():
        raise DataError(
            f"column {column!r} is to be numeric, but holds {present[~numeric].iloc[0]!r}; add it "
            "to data.missing or mend it"
        )
    if kind != "categorical" and numeric.all():
        infinite, large = (
            numbers.abs() == np.inf,
            (numbers.abs() > EXACT) & (numbers == numbers.round()),
        )
        if infinite.any():
            raise DataError(
                f"column {column!r} is infinite in {where(infinite)}; mend it, or add it to "
                "data.missing"
            )
        if large.any():
            raise DataError(
                f"column {column!r} has whole numbers beyond 2^53, in {where(large)}, which would "
                "not be kept exactly: change the unit, or "
                f"drop the column: {setting(column, 'drop', columns)}"
            )
    if kind is None:
        few = numeric.all() and (numbers == numbers.round()).all() and present.nunique() <= FEW
        coded = present.map(is_code).any()
        kind = "categorical" if flags.any() or few or coded or not numeric.all() else "numeric"
    if kind == "numeric":
        return numbers.reindex(values.index)
    if distinct > MANY:
        raise DataError(
            f"column {column!r} has {distinct} different values, such as {present.iloc[0]!r}: an "
            "identifier, date or free text cannot be a "
            f"category; drop it: {setting(column, 'drop', columns)}"
        )
    return values


def check_writings(
    others: pd.Series, present: int, column: object, kind: str | None, columns: Sequence[str]
) -> None:
    """Raises DataError if numbers in another format are many, or most cells are dates.

    Numbers are many if at least half of the cells are numbers, in any format.

    Args:
        others: cells that are not read as numbers.
        present: how many cells there are.
        column: its name.
        kind: what the user said of the column, or None.
        columns: all columns of the table.
    """
    texts = others.map(str)
    counts = texts.value_counts()
    odd = first_of(counts.index)
    if odd is not None and kind == "numeric":
        raise DataError(
            f"column {column!r} is to be numeric, but holds {odd[0]!r}, a number with {odd[1]}; "
            "write such numbers as 1234.5"
        )
    written = sum(int(n) for text, n in counts.items() if first_of([str(text)]))
    if odd is not None and 2 * (present - len(texts) + written) >= present:
        raise DataError(
            f"column {column!r} holds {odd[0]!r}, a number with {odd[1]}: write such numbers as "
            "1234.5, or, if they are categories, say "
            f"{setting(column, 'categorical', columns)}"
        )
    dates = [str(text) for text in counts.index if is_date(str(text))]
    if kind is None and len(dates) > FEW and 2 * len(dates) >= len(counts):
        raise DataError(
            f"column {column!r} holds {len(dates)} different dates or times, such as {dates[0]!r}: "
            "turn them into numbers, or "
            f"drop the column: {setting(column, 'drop', columns)}; as categories: "
            f"{setting(column, 'categorical', columns)}"
        )
