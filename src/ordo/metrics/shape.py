"""Column Shapes: how close each column's distribution is, one column at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from ordo.metrics.encoding import category_codes
from ordo.metrics.inputs import NUMERIC, Kinds, checked

# sdmetrics rounds to one digit fewer than a double holds, so that arithmetic noise makes no steps
DECIMALS = 14
# sdmetrics' count, in the real table, of a category that only the synthetic table has
UNSEEN = 1e-6


def shape(real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds) -> float:
    """Mean over columns of ``shape_by_column``, without undefined ones; NaN if all are undefined.

    In [0, 1], higher better, 1 for equal marginals. Blind to dependence: a table of independent
    columns scores about 1.

    Raises ValueError: see ``ordo.metrics.inputs.checked``.
    Source: sdmetrics QualityReport, property "Column Shapes".
    """
    scores = np.array(list(shape_by_column(real, synthetic, kinds).values()))
    return float(scores[~np.isnan(scores)].mean()) if not np.isnan(scores).all() else float("nan")


def shape_by_column(real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds) -> dict[str, float]:
    """1 - a distance between the real and the synthetic distribution of each column.

    The distance is Kolmogorov-Smirnov for numeric columns, total variation for categorical ones. In
    [0, 1], higher better. Missing values are dropped from both tables first, in categorical columns
    too, as sdmetrics does; a column with nothing left in either table is NaN.

    Raises ValueError: see ``ordo.metrics.inputs.checked``.
    Source: sdmetrics KSComplement and TVComplement.
    """
    real, synthetic = checked(kinds, real=real, synthetic=synthetic)
    return {
        column: (_ks if kind == NUMERIC else _tv)(real[column].dropna(), synthetic[column].dropna())
        for column, kind in kinds.items()
    }


def _ks(real: pd.Series, synthetic: pd.Series) -> float:
    if len(real) == 0 or len(synthetic) == 0:
        return float("nan")
    # The statistic alone is wanted, and "asymp" spares the exact p-value.
    result = ks_2samp(real.round(DECIMALS), synthetic.round(DECIMALS), method="asymp")
    return float(1 - np.asarray(result)[0])


def _tv(real: pd.Series, synthetic: pd.Series) -> float:
    if len(real) == 0 or len(synthetic) == 0:
        return float("nan")
    (first, second), size = category_codes(real, synthetic)
    expected = np.bincount(first, minlength=size).astype(np.float64)
    observed = np.bincount(second, minlength=size)
    expected[expected == 0] = UNSEEN
    return float(1 - np.abs(expected / expected.sum() - observed / observed.sum()).sum() / 2)
