"""Columns as integer codes and as vectors, shared by the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.preprocessing import MinMaxScaler

from ordo.metrics.inputs import CATEGORICAL, NUMERIC, Kinds, columns_of

# In larger contingency tables, sorting the cells that occur costs less than counting all.
DENSE_CELLS = 1 << 22


def category_codes(*columns: pd.Series) -> tuple[list[np.ndarray], int]:
    """Codes shared by the columns, and how many there are.

    Values are compared by Python equality (1 and 1.0 are equal, 1 and "1" are not); missing is a
    category of its own, the last. Codes follow the order of the values as text, but values that the
    first column lacks come before all others. sdmetrics has this order too, and the order shows in
    the last digits of an optimiser that stops early.
    """
    joined = np.concatenate([column.to_numpy(dtype=object) for column in columns])
    codes, values = pd.factorize(joined, use_na_sentinel=False)
    of_first = np.isin(np.arange(len(values)), codes[: len(columns[0])])
    keys = [
        (seen, pd.isna(value), str(value)) for seen, value in zip(of_first, values, strict=True)
    ]
    rank = np.empty(len(values), dtype=np.int64)
    rank[sorted(range(len(values)), key=keys.__getitem__)] = np.arange(len(values))
    return np.split(rank[codes], np.cumsum([len(column) for column in columns])[:-1]), len(values)


def joint_counts(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], sizes: tuple[int, int]
) -> list[np.ndarray]:
    """Flattened contingency tables of pairs of code columns; equal cells have equal places."""
    cells = [first * sizes[1] + second for first, second in pairs]
    total = sizes[0] * sizes[1]
    if total > DENSE_CELLS:
        kept, inverse = np.unique(np.concatenate(cells), return_inverse=True)
        cells, total = np.split(inverse, np.cumsum([len(each) for each in cells])[:-1]), len(kept)
    return [np.bincount(each, minlength=total) for each in cells]


def one_hot(codes: np.ndarray, size: int) -> np.ndarray:
    """Codes (rows,) as zeros and ones (rows, size)."""
    return (
        np.eye(size)[codes]
        if size <= 64
        else (codes[:, None] == np.arange(size)).astype(np.float64)
    )


def scaled_numeric(
    kinds: Kinds, reference: pd.DataFrame, *others: pd.DataFrame
) -> list[np.ndarray]:
    """Numeric columns min-max scaled on the reference, one matrix a table.

    A constant column is only shifted. Missing numbers become the reference's mean, and every column
    with a missing number in any table gets a 0/1 column for it, after the numeric ones.
    """
    columns = columns_of(kinds, NUMERIC)
    if not columns:
        return [np.empty((len(table), 0)) for table in (reference, *others)]
    raw = [table[columns].to_numpy(dtype=np.float64) for table in (reference, *others)]
    means = reference[columns].mean().fillna(0.0).to_numpy()
    missing = [np.isnan(values) for values in raw]
    flagged = np.logical_or.reduce([mask.any(axis=0) for mask in missing])
    filled = [np.where(mask, means, values) for values, mask in zip(raw, missing, strict=True)]
    scaler = MinMaxScaler().fit(filled[0])
    return [
        np.hstack([scaler.transform(values), mask[:, flagged].astype(np.float64)])
        for values, mask in zip(filled, missing, strict=True)
    ]


def one_hot_categorical(kinds: Kinds, *tables: pd.DataFrame) -> list[np.ndarray]:
    """Categorical columns one-hot over the categories of all tables, one matrix a table.

    Categories are in the order of ``category_codes``.
    """
    blocks: list[list[np.ndarray]] = [[np.empty((len(table), 0))] for table in tables]
    for column in columns_of(kinds, CATEGORICAL):
        codes, size = category_codes(*(table[column] for table in tables))
        for block, each in zip(blocks, codes, strict=True):
            block.append(one_hot(each, size))
    return [np.hstack(block) for block in blocks]
