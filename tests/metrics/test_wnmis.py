"""wNMIS in closed form, and against pandas' bins with scikit-learn's mutual information."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import normalized_mutual_info_score

from ordo.metrics import independent_columns, wnmis

BITS = {"a": "categorical", "b": "categorical"}


def channel(agree, differ):
    """Two bits: each agreeing pair ``agree`` times, each other pair ``differ`` times."""
    pairs = [(0, 0), (1, 1)] * agree + [(0, 1), (1, 0)] * differ
    return pd.DataFrame(pairs, columns=["a", "b"])


def test_binary_channels():
    quarter = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert wnmis(channel(2, 0), channel(2, 2), BITS) == pytest.approx(0, abs=1e-12)
    # 1 - (1 - q)(1 + q) / (1 + q)
    assert wnmis(channel(2, 0), channel(3, 1), BITS) == pytest.approx(quarter, abs=1e-12)
    assert wnmis(channel(3, 1), channel(2, 2), BITS) == pytest.approx(1 - quarter, abs=1e-12)
    assert wnmis(channel(2, 2), channel(5, 5), BITS) == 1, "no dependence in either"


def test_weights():
    """Three pairs weigh 2, 1 and 1.

    a = b depends fully in both tables; c depends on them in one table only.
    """
    real = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 0, 1, 1], "c": [0, 0, 1, 1]})
    synthetic = real.assign(c=[0, 1, 0, 1])
    assert wnmis(real, synthetic, dict.fromkeys(real, "categorical")) == pytest.approx(
        1 - 2 / 4, abs=1e-12
    )


def test_a_constant_column_has_no_information():
    real = pd.DataFrame({"a": [1.0] * 6, "b": list("xyxyxy")})
    assert wnmis(real, real, {"a": "numeric", "b": "categorical"}) == 1


def brute(real, synthetic, kinds):
    real, synthetic = real.copy(), synthetic.copy()
    for column, kind in kinds.items():
        edges = np.histogram_bin_edges(real[column].dropna(), 10) if kind == "numeric" else None
        for table in (real, synthetic):
            if edges is not None and table[column].nunique(dropna=False) > 11:
                table[column] = pd.cut(table[column], edges, include_lowest=True)
            table[column] = table[column].astype(object).map(str)
    error = weight = 0
    for a, b in combinations(kinds, 2):
        r, s = (normalized_mutual_info_score(table[a], table[b]) for table in (real, synthetic))
        error, weight = error + abs(r - s) * (r + s), weight + r + s
    return 1 - error / weight


def test_brute_force(real, fresh, kinds):
    # On the edges, and few values
    integers = real.assign(x=(real["x"] * 5).round(), spike=real["spike"].clip(upper=3).round())
    wider = fresh.assign(x=(fresh["x"] * 9).round(), spike=fresh["spike"].round(1))
    for first, second in (
        (real, fresh),
        (real, independent_columns(real)),
        (integers, wider),
        (wider, integers),
    ):
        assert wnmis(first, second, kinds) == pytest.approx(brute(first, second, kinds), abs=1e-9)
