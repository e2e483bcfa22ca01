"""Metrics of copies, of a fresh sample of the same law, and of a table without dependence."""

import sys

import pandas as pd
import pytest

from ordo.metrics import (
    alpha_beta,
    c2st,
    independent_columns,
    shape,
    shape_by_column,
    trend,
    trend_by_pair,
    wnmis,
)


def test_a_copy_is_perfect(real, kinds, few_trees):
    assert set(shape_by_column(real, real, kinds).values()) == {1.0}
    assert (
        shape(real, real, kinds)
        == trend(real, real, kinds)
        == trend(real, real, kinds, edges="real")
        == wnmis(real, real, kinds)
        == 1
    )
    assert set(trend_by_pair(real, real, kinds).values()) == {1.0}
    assert len(trend_by_pair(real, real, kinds)) == 10
    near = alpha_beta(real, real, kinds)
    assert near.alpha_precision == pytest.approx(1, abs=2 / len(real))  # a quantile of n rows
    assert near.beta_recall == pytest.approx(1, abs=2 / len(real))
    assert near.authenticity == 0
    for classifier in ("logistic", "trees"):
        assert c2st(real, real, kinds, classifier) > 0.95


def test_a_fresh_sample_is_ideal(real, fresh, kinds):
    assert (
        min(
            shape(real, fresh, kinds),
            trend(real, fresh, kinds, edges="real"),
            wnmis(real, fresh, kinds),
        )
        > 0.95
    )
    assert trend(real, fresh, kinds) < 0.9, (
        "another extreme of the long-tailed spike moves all its own bins"
    )
    near = alpha_beta(real, fresh, kinds)
    assert near.alpha_precision > 0.97
    assert near.beta_recall == pytest.approx(0.5, abs=0.03)
    assert c2st(real, fresh, kinds, "logistic") > 0.93
    assert c2st(real, fresh, kinds, "trees") > 0.93


def test_independent_columns_fool_shape_but_not_trees(real, kinds):
    table = independent_columns(real, seed=3)
    assert table.shape == real.shape
    assert shape(real, table, kinds) > 0.97
    assert c2st(real, table, kinds, "logistic") > 0.85, "linear in the columns: blind to dependence"
    assert c2st(real, table, kinds, "trees") < 0.3
    assert wnmis(real, table, kinds) < 0.7
    assert alpha_beta(real, table, kinds).beta_recall < 0.4


def test_independent_columns_are_draws_of_each_column(real):
    table = independent_columns(real, 40, seed=1)
    assert len(table) == 40
    assert (table.dtypes == real.dtypes).all()
    assert all(set(table[column].dropna()) <= set(real[column].dropna()) for column in real)
    pd.testing.assert_frame_equal(table, independent_columns(real, 40, seed=1))
    assert not table.equals(independent_columns(real, 40, seed=2))
    with pytest.raises(ValueError, match="positive"):
        independent_columns(real, 0)


@pytest.mark.parametrize("classifier", ["logistic", "trees"])
def test_c2st_sees_a_shift_and_repeats_itself(real, fresh, kinds, classifier, few_trees):
    shifted = fresh.assign(x=fresh["x"] + 3)
    assert c2st(real, shifted, kinds, classifier) < 0.15
    score = c2st(real, fresh, kinds, classifier, seed=5)
    assert score == c2st(real, fresh, kinds, classifier, seed=5)
    assert score != c2st(real, fresh, kinds, classifier, seed=6)
    others = fresh.assign(group="z")
    assert c2st(real, others, kinds, classifier) < 0.1, (
        "a category that the real table lacks is seen"
    )


def test_c2st_of_trees_takes_more_categories_than_native(real, few_trees):
    many = pd.DataFrame({"x": real["x"], "name": [f"n{i % 400:03d}" for i in range(len(real))]})
    assert c2st(many, many, {"x": "numeric", "name": "categorical"}, "trees") > 0.95


def test_trend_misses_a_column_that_collapsed():
    """As sdmetrics: no correlation, no score. Shape is what sees it."""
    kinds = {"a": "numeric", "b": "numeric", "c": "numeric"}
    real = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [2.0, 1, 4, 3], "c": [1.0, 2, 2, 1]})
    synthetic = real.assign(c=7.0)
    assert trend(real, synthetic, kinds) == 1
    assert pd.isna(trend(real[["a", "c"]], synthetic[["a", "c"]], {"a": "numeric", "c": "numeric"}))
    assert shape(real, synthetic, kinds) < 1


def test_missing_columns_of_values_are_undefined(kinds):
    real = pd.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]})
    empty = pd.DataFrame({"x": [None, None], "c": [None, None]}, dtype=object)
    both = {"x": "numeric", "c": "categorical"}
    assert all(pd.isna(score) for score in shape_by_column(real, empty, both).values())
    assert pd.isna(shape(real, empty, both))


def test_empty_columns_and_many_categories_pass_through(real, fresh, kinds, few_trees, monkeypatch):
    real, fresh = real[:300], fresh[:300]
    kinds |= {"empty": "numeric", "none": "categorical"}
    first, second = real.assign(empty=float("nan"), none=None), fresh.assign(empty=1.0, none=None)
    for a, b in ((first, first), (first, second), (second, first)):
        assert 0 < trend(a, b, kinds) <= 1
        assert 0 < wnmis(a, b, kinds) <= 1
        assert 0 <= alpha_beta(a, b, kinds).alpha_precision <= 1
        for classifier in ("logistic", "trees"):
            assert 0 <= c2st(a, b, kinds, classifier) <= 1
    whole = trend(first, second, kinds), wnmis(first, second, kinds)
    # As if every contingency table were huge
    monkeypatch.setattr(sys.modules["ordo.metrics.encoding"], "DENSE_CELLS", 0)
    assert (trend(first, second, kinds), wnmis(first, second, kinds)) == pytest.approx(
        whole, abs=1e-12
    )


def test_column_order_index_and_container_types_do_not_matter(real, fresh, kinds):
    other = fresh.iloc[::-1, ::-1].assign(group=fresh["group"].astype("category"), extra=1)
    for metric in (shape, trend, wnmis):
        assert metric(real, other, kinds) == pytest.approx(metric(real, fresh, kinds), abs=1e-12)
