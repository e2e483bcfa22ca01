"""What a table's codec holds of the training rows, and a codec that keeps bin edges alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ordo.data.tables.codec import TableCodec
from ordo.data.tables.columns import Column, NumericColumn

# A value that so many rows share is no one's own, and is kept if it has its own bin.
SHARED = 10


def edges_alone(codec: TableCodec) -> TableCodec:
    """A codec with the same tokens and without the values of single rows.

    Numbers are drawn evenly between the edges of their bins. Edges lie halfway between the values
    of neighbouring bins; the outermost edges are rounded outward to a tenth of the power of ten in
    the range. A bin of one value that at least ``SHARED`` rows had keeps it. Categories stay.
    """
    columns: list[Column] = [
        _edges(c) if isinstance(c, NumericColumn) and c.cuts is None else c for c in codec.columns
    ]
    return TableCodec(tuple(columns))


def _edges(column: NumericColumn) -> NumericColumn:
    low, high = column.ends()
    cuts = column._edges
    rows = np.add.reduceat(column.weights, column.starts)
    keep = (low == high) & (rows >= SHARED)
    least, most = outward(float(low[0]), float(high[-1]))
    if column.whole:
        least, most = np.floor(least), np.ceil(most)
    lower, upper = np.append(least, cuts), np.append(cuts, most)
    if column.whole:  # a number at an edge belongs to the bin below
        lower, upper = np.append(least, np.floor(cuts) + 1), np.floor(upper)
    values, starts = [], []
    for b in range(column.bins):
        ends = [low[b]] if keep[b] else [lower[b], upper[b]] if lower[b] < upper[b] else [lower[b]]
        starts.append(len(values))
        values += ends
    ones = np.ones(len(values))
    return replace(
        column,
        values=np.array(values),
        weights=ones,
        starts=np.array(starts, dtype=np.int64),
        cuts=cuts,
    )


def outward(low: float, high: float) -> tuple[float, float]:
    """A range rounded outward, to a tenth of the largest power of ten in it."""
    if not low < high:
        return low, high
    step = 10.0 ** (np.floor(np.log10(high - low)) - 1)
    return min(low, float(np.floor(low / step) * step)), max(
        high, float(np.ceil(high / step) * step)
    )


def holds(codec: TableCodec) -> str:
    """What the codec holds of the training rows, in words."""
    numbers = {c.name: len(c.values) for c in codec.columns if isinstance(c, NumericColumn)}
    own = [c for c in codec.columns if isinstance(c, NumericColumn) and c.cuts is None]
    categories = sum(len(c.categories) for c in codec.columns if not isinstance(c, NumericColumn))
    parts = []
    if own:
        most = max(own, key=lambda c: len(c.values))
        parts.append(
            f"{sum(len(c.values) for c in own):,} values of {len(own)} numeric columns (most of "
            f"{most.name!r}, {len(most.values):,})"
        )
    elif numbers:
        parts.append(
            f"the bin edges of {len(numbers)} numeric columns, and values that at least {SHARED} "
            "rows share"
        )
    if categories:
        parts.append(f"{categories:,} categories of {len(codec.columns) - len(numbers)} columns")
    return " and ".join(parts)
