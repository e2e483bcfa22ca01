"""Column Pair Trends: how close the dependence within each pair of columns is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypedDict, Unpack

import numpy as np
import pandas as pd

from ordo.metrics.encoding import category_codes, joint_counts
from ordo.metrics.inputs import NUMERIC, Kinds, checked

Edges = Literal["own", "real"]
BINS = 10


class Options(TypedDict, total=False):
    """Keyword arguments of ``trend_by_pair``."""

    edges: Edges
    correlation_threshold: float
    association_threshold: float


def trend(
    real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds, **options: Unpack[Options]
) -> float:
    """Mean over pairs of ``trend_by_pair``, without undefined ones; NaN if all are undefined.

    In [0, 1], higher better, 1 for equal tables. Arguments, errors and source: see
    ``trend_by_pair``.
    """
    scores = np.array(list(trend_by_pair(real, synthetic, kinds, **options).values()))
    return float(scores[~np.isnan(scores)].mean()) if not np.isnan(scores).all() else float("nan")


def trend_by_pair(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    kinds: Kinds,
    *,
    edges: Edges = "own",
    correlation_threshold: float = 0.0,
    association_threshold: float = 0.0,
) -> dict[tuple[str, str], float]:
    """How close the dependence of each pair of columns is, in [0, 1], higher better.

    A numeric pair has ``1 - |rho_r - rho_s| / 2`` (Pearson). Other pairs have 1 - total variation
    distance of the contingency tables. A correlation is undefined if either table's column is
    constant: such a pair is NaN, so a synthetic column that collapsed to one number costs nothing
    here. Missing values: a numeric pair drops rows that lack either value; a contingency table
    counts missing as a category, and a missing number in the bin above the last, as sdmetrics does.
    All rows are used; sdmetrics draws 50,000 of a longer table.

    Args:
        real, synthetic: tables.
        kinds: column -> "numeric" or "categorical".
        edges: how numeric columns of mixed pairs are cut into 10 bins of equal width. "own", as
            sdmetrics' report: each table between its own least and greatest value, the greatest in
            a bin of its own. So a shift of a whole column goes unseen, and a fresh sample of a
            long-tailed column, with another extreme, scores far below 1. "real", as its
            ContingencySimilarity with continuous columns: both tables by the real edges, the outer
            bins open. Reports since 0.13 have "own"; "real" is the sounder one.
        correlation_threshold, association_threshold: a pair is NaN unless its real ``|rho|`` or
            Cramer's V is above. 0: every pair counts, as in the reports of sdmetrics 0.13, 0.18 and
            0.22, of the time of TabSyn and TabDiff. That of 0.32 sets 0.5 and 0.3.

    Raises ValueError: fewer than two columns, unknown ``edges``, and see
    ``ordo.metrics.inputs.checked``.
    Source: sdmetrics QualityReport, property "Column Pair Trends" (CorrelationSimilarity,
    ContingencySimilarity).
    """
    real, synthetic = checked(kinds, real=real, synthetic=synthetic)
    if len(kinds) < 2:
        raise ValueError(
            f"trend compares pairs, and column {next(iter(kinds))!r} is alone; give at least two "
            "columns"
        )
    codes = _all_codes(real, synthetic, kinds, edges)
    scores: dict[tuple[str, str], float] = {}
    for a, b in combinations(kinds, 2):
        if kinds[a] == kinds[b] == NUMERIC:
            scores[a, b] = _correlation_similarity(real, synthetic, a, b, correlation_threshold)
        else:
            scores[a, b] = _contingency_similarity(codes[a], codes[b], association_threshold)
    return scores


def pair_associations(
    real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds, *, edges: Edges = "real"
) -> tuple[np.ndarray, np.ndarray]:
    """How strongly every two columns depend on each other, in the real and the synthetic table.

    Returns two matrices (columns, columns) float64, symmetric, with 1 on the diagonal and NaN if a
    column is constant. A numeric pair has Pearson's rho, in [-1, 1]. Other pairs have Cramer's V,
    in [0, 1], by the categories and bins of ``trend_by_pair``, with missing as one of them.
    ``np.abs(first - second)`` is what ``ordo.plots.pair_difference`` draws.

    edges: see ``trend_by_pair``. Raises ValueError as ``trend_by_pair`` does, but one column will
    do.
    """
    real, synthetic = checked(kinds, real=real, synthetic=synthetic)
    codes = _all_codes(real, synthetic, kinds, edges)
    out = np.ones((2, len(kinds), len(kinds)))
    for (i, a), (j, b) in combinations(enumerate(kinds), 2):
        numeric = kinds[a] == kinds[b] == NUMERIC
        out[0, i, j] = out[0, j, i] = (
            _correlation(real, a, b) if numeric else _cramer(codes[a].real, codes[b].real)
        )
        out[1, i, j] = out[1, j, i] = (
            _correlation(synthetic, a, b)
            if numeric
            else _cramer(codes[a].synthetic, codes[b].synthetic)
        )
    return out[0], out[1]


@dataclass(frozen=True)
class _Codes:
    real: np.ndarray
    synthetic: np.ndarray
    size: int


def _all_codes(
    real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds, edges: Edges
) -> dict[str, _Codes]:
    if edges not in ("own", "real"):
        raise ValueError(f"edges={edges!r}; use 'own' or 'real'")
    return {
        column: _codes(real[column], synthetic[column], kind, edges)
        for column, kind in kinds.items()
    }


def _codes(real: pd.Series, synthetic: pd.Series, kind: str, edges: Edges) -> _Codes:
    if kind != NUMERIC:
        (first, second), size = category_codes(real, synthetic)
        return _Codes(first, second, size)
    first, second = real.to_numpy(dtype=np.float64), synthetic.to_numpy(dtype=np.float64)
    of_real, of_synthetic = _edges(first), _edges(second)
    if edges == "real":
        of_real[[0, -1]] = -np.inf, np.inf
        of_synthetic = of_real
    # NaN sorts above the last edge
    return _Codes(np.digitize(first, of_real), np.digitize(second, of_synthetic), BINS + 2)


def _edges(values: np.ndarray) -> np.ndarray:
    return np.histogram_bin_edges(values[~np.isnan(values)], BINS)


def _correlation(table: pd.DataFrame, a: str, b: str) -> float:
    x, y = table[a].to_numpy(), table[b].to_numpy()
    kept = ~(np.isnan(x) | np.isnan(y))
    if not kept.all():
        x, y = x[kept], y[kept]
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x / np.linalg.norm(x) @ (y / np.linalg.norm(y)), -1, 1))


def _correlation_similarity(
    real: pd.DataFrame, synthetic: pd.DataFrame, a: str, b: str, threshold: float
) -> float:
    rho = _correlation(real, a, b)
    if threshold > 0 and not abs(rho) > threshold:
        return float("nan")
    return 1 - abs(rho - _correlation(synthetic, a, b)) / 2


def _contingency_similarity(a: _Codes, b: _Codes, threshold: float) -> float:
    if threshold > 0 and not _cramer(a.real, b.real) > threshold:
        return float("nan")
    real, synthetic = joint_counts([(a.real, b.real), (a.synthetic, b.synthetic)], (a.size, b.size))
    return float(1 - np.abs(real / len(a.real) - synthetic / len(a.synthetic)).sum() / 2)


def _cramer(a: np.ndarray, b: np.ndarray) -> float:
    """Cramer's V from the cells that occur.

    Two columns of nearly unique values have a full table that no memory holds.
    """
    cells, count = np.unique(a * (b.max() + 1) + b, return_counts=True)
    (_, row), (_, column) = (
        np.unique(part, return_inverse=True) for part in np.divmod(cells, b.max() + 1)
    )
    in_row, in_column = np.bincount(row, count), np.bincount(column, count)
    freedom = min(len(in_row), len(in_column)) - 1
    if freedom == 0:
        return float("nan")
    excess = (
        count.astype(np.float64) ** 2 / (in_row[row] * in_column[column])
    ).sum() - 1  # chi^2 / rows
    return math.sqrt(max(excess, 0.0) / freedom)
