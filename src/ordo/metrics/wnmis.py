"""Weighted normalised mutual information similarity: dependence of any form within pairs.

Pairs are weighted by how much dependence they have.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from ordo.metrics.encoding import category_codes, joint_counts
from ordo.metrics.inputs import NUMERIC, Kinds, checked

BINS = 10


def wnmis(real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds) -> float:
    """1 - weighted mean over pairs of ``|NMI_r - NMI_s|``, weight NMI_r + NMI_s.

    NMI = 2 I(a; b) / (H(a) + H(b)). In [0, 1], higher better, 1 for equal tables. As in the
    authors' code, a numeric column is cut into 10 bins of equal width over the real range, closed
    on the right. Missing values and values outside that range share one more code. A column with no
    more than 11 distinct values in a table is left as it is there. A missing category is a
    category. Two constant columns have NMI 0; if no pair has any NMI, in either table, the score is
    1 (undefined in the authors' code). The plug-in estimate of I is biased upwards, by the same
    amount only in tables of the same length.

    Raises ValueError: fewer than two columns, and see ``ordo.metrics.inputs.checked``. Source:
    Scassola et al., A Sobering Look at Tabular Data Generation via Probabilistic Circuits, 2026
    (arXiv 2603.23016).
    """
    real, synthetic = checked(kinds, real=real, synthetic=synthetic)
    if len(kinds) < 2:
        raise ValueError(
            f"wnmis compares pairs, and column {next(iter(kinds))!r} is alone; give at least two "
            "columns"
        )
    edges = {column: _edges(real[column]) for column, kind in kinds.items() if kind == NUMERIC}
    nmi_r, nmi_s = _nmi_of_pairs(real, kinds, edges), _nmi_of_pairs(synthetic, kinds, edges)
    weight = nmi_r + nmi_s
    return (
        float(1 - (weight * np.abs(nmi_r - nmi_s)).sum() / weight.sum())
        if weight.sum() > 0
        else 1.0
    )


def _edges(values: pd.Series) -> np.ndarray:
    return np.histogram_bin_edges(values.dropna().to_numpy(dtype=np.float64), BINS)


def _nmi_of_pairs(table: pd.DataFrame, kinds: Kinds, edges: dict[str, np.ndarray]) -> np.ndarray:
    codes = {
        column: _cut(table[column], edges[column])
        if column in edges
        else category_codes(table[column])[0][0]
        for column in kinds
    }
    sizes = {column: int(each.max()) + 1 for column, each in codes.items()}
    entropies = {column: _entropy(np.bincount(each)) for column, each in codes.items()}
    scores = []
    for a, b in combinations(kinds, 2):
        (joint,) = joint_counts([(codes[a], codes[b])], (sizes[a], sizes[b]))
        scores.append(_nmi(entropies[a], entropies[b], joint))
    return np.array(scores)


def _cut(column: pd.Series, edges: np.ndarray) -> np.ndarray:
    values = column.to_numpy(dtype=np.float64)
    distinct, codes = np.unique(values, return_inverse=True)  # NaN once
    if len(distinct) <= len(edges):
        return codes
    codes = np.digitize(values, edges, right=True)
    codes[values == edges[0]] = 1
    return np.where((values >= edges[0]) & (values <= edges[-1]), codes, 0)


def _entropy(counts: np.ndarray) -> float:
    """Nats."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _nmi(first: float, second: float, joint: np.ndarray) -> float:
    information = max(first + second - _entropy(joint), 0.0)  # rounding can take it just below
    return 2 * information / (first + second) if first + second > 0 else 0.0
