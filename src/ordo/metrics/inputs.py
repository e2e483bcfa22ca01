"""What every metric asks of its tables: the columns named in ``kinds``, and some rows.

A kind is "numeric" or "categorical".
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import numpy as np
import pandas as pd

NUMERIC, CATEGORICAL = "numeric", "categorical"
Kinds = Mapping[str, str]


def checked(kinds: Kinds, **tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables by their argument names, reduced to the columns of ``kinds`` in its order.

    Numeric columns come back as float64 with NaN for missing, categorical ones as objects with None
    for missing. Raises ValueError, naming column and mend: no columns, unknown kind, not a
    DataFrame, no rows, missing or repeated columns, non-numeric or infinite values in a numeric
    column.
    """
    if not kinds:
        raise ValueError(
            "kinds names no columns; give a mapping from column to 'numeric' or 'categorical'"
        )
    for column, kind in kinds.items():
        if kind not in (NUMERIC, CATEGORICAL):
            raise ValueError(
                f"column {column!r}: unknown kind {kind!r}; use 'numeric' or 'categorical'"
            )
    return [_checked_table(name, table, kinds) for name, table in tables.items()]


def columns_of(kinds: Kinds, kind: str) -> list[str]:
    """Columns of one kind, in the order of ``kinds``."""
    return [column for column, each in kinds.items() if each == kind]


def subsample(table: pd.DataFrame, rows: int | None, *seed: int) -> pd.DataFrame:
    """``rows`` rows drawn without replacement, in their old order; or the table if it has no more.

    Raises ValueError: rows below 1.
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows={rows}; give a positive number, or None for all rows")
    if rows is None or rows >= len(table):
        return table
    chosen = np.random.default_rng(seed).choice(len(table), rows, replace=False)
    return table.iloc[np.sort(chosen)]


def _checked_table(name: str, table: object, kinds: Kinds) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"{name} is a {type(table).__name__}; give a pandas DataFrame")
    absent = [column for column in kinds if column not in table.columns]
    if absent:
        raise ValueError(
            f"{name} lacks column {absent[0]!r} ({len(absent)} missing in all); add it, or leave "
            "it out of kinds"
        )
    if len(table) == 0:
        raise ValueError(
            f"{name} has no rows; give at least one (first column: {next(iter(kinds))!r})"
        )
    out: dict[str, pd.Series | np.ndarray] = {}
    for column, kind in kinds.items():
        values = table[column]
        if isinstance(values, pd.DataFrame):
            raise ValueError(
                f"{name} has column {column!r} {values.shape[1]} times; rename or drop the copies"
            )
        out[column] = _numbers(name, values) if kind == NUMERIC else _objects(values)
    return pd.DataFrame(out)


def _objects(values: pd.Series) -> pd.Series:
    objects = values.astype(object).to_numpy(dtype=object, copy=True)
    objects[values.isna().to_numpy()] = None
    # A bare array of text would become a str column, whose missing values are NaN again
    return pd.Series(objects, dtype=object)


def _numbers(name: str, values: pd.Series) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
        for value in values.astype(object)[values.notna()]:
            if not isinstance(
                value, Real | np.bool_
            ):  # also a number as text: is " 7" a number or a category?
                raise ValueError(
                    f"{name}, numeric column {values.name!r}: {value!r} is not a number; convert "
                    "it with pandas.to_numeric, or call the column 'categorical'"
                )
    numbers = (
        values.astype(object).where(values.notna(), np.nan) if values.dtype == object else values
    )
    out = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(out).any():
        raise ValueError(
            f"{name}, numeric column {values.name!r}: infinite values; replace them by NaN "
            "(missing) or by a finite bound"
        )
    return out
