"""Association matrices against numpy's correlations and scipy's Cramer's V of whole tables."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats.contingency import association

from ordo.metrics import pair_associations

KINDS = {
    "x": "numeric",
    "y": "numeric",
    "c": "categorical",
    "d": "categorical",
    "flat": "categorical",
}


def table(seed, rows=300):
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    y = np.where(random.uniform(size=rows) < 0.1, np.nan, x + random.normal(size=rows) * seed)
    c = np.where(x > 0, "high", random.choice(["low", "mid"], rows))
    d = random.choice(["p", None, "q"], rows)
    return pd.DataFrame({"x": x, "y": y, "c": c, "d": d, "flat": "one"})


def cramer(a, b):
    return association(pd.crosstab(a, b).to_numpy(), method="cramer")


def test_associations():
    real, synthetic = table(1), table(2)
    matrices = pair_associations(real, synthetic, KINDS)
    edges = np.histogram_bin_edges(real["x"], 10)
    edges[[0, -1]] = -np.inf, np.inf
    for matrix, each in zip(matrices, (real, synthetic), strict=True):
        assert np.array_equal(matrix, matrix.T, equal_nan=True)
        assert (np.diag(matrix) == 1).all()
        assert matrix[0, 1] == pytest.approx(each["x"].corr(each["y"]))
        assert matrix[2, 3] == pytest.approx(cramer(each["c"], each["d"].fillna("missing")))
        assert matrix[0, 2] == pytest.approx(cramer(np.digitize(each["x"], edges), each["c"]))
        assert np.isnan(matrix[4, :4]).all(), "a constant column depends on nothing"
    same = pair_associations(real, real, KINDS, edges="own")
    assert np.array_equal(*same, equal_nan=True)


def test_nearly_unique_values_need_no_whole_table():
    rows = 60_000  # a table of 3.6e9 cells
    ids = pd.DataFrame({"a": np.arange(rows).astype(str), "b": np.arange(rows)[::-1].astype(str)})
    matrix, _ = pair_associations(ids, ids, dict.fromkeys("ab", "categorical"))
    assert matrix[0, 1] == pytest.approx(1)


def test_refuses():
    with pytest.raises(ValueError, match="edges="):
        pair_associations(table(1), table(2), KINDS, edges="none")
