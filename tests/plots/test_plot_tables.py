"""Marginals: bars and bins against counts by hand."""

import numpy as np
import pandas as pd
import pytest

from ordo.plots import marginals


def lengths(axes):
    """Bar lengths of the real and of the synthetic table."""
    return [[bar.get_width() for bar in container] for container in axes.containers]


def ticks(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_categories_are_shares_of_rows_with_other_and_missing():
    real = pd.DataFrame(
        {"c": ["a"] * 5 + ["b"] * 3 + [None] * 2, "many": [f"v{i}" for i in range(10)]}
    )
    synthetic = pd.DataFrame({"c": ["b", "z", "b", "a"], "many": ["v0", "v0", "new", "v9"]})
    kinds = {"many": "categorical", "c": "categorical", "unused": "numeric"}
    axes, many, *_ = marginals(real, synthetic, ["c", "many"], kinds).axes
    assert ticks(axes) == ["a", "b", "z", "missing"]
    first, second = lengths(axes)
    assert first == pytest.approx([0.5, 0.3, 0, 0.2])
    assert second == pytest.approx([0.25, 0.5, 0.25, 0])
    assert axes.yaxis_inverted()
    assert ticks(many) == [*(f"v{i}" for i in range(8)), "other (3)"]
    first, second = lengths(many)
    assert first == pytest.approx([0.1] * 8 + [0.2])
    assert second == pytest.approx([0.5] + [0] * 7 + [0.5])


def test_few_numbers_have_bars_by_value_and_many_have_bins():
    random = np.random.default_rng(0)
    real = pd.DataFrame({"few": [2.0, 10.0, 2.0, np.nan] * 50, "many": random.normal(size=200)})
    synthetic = pd.DataFrame({"few": [10.0, 3.0] * 30, "many": random.normal(size=60)})
    synthetic.loc[:5, "many"] = np.nan
    figure = marginals(real, synthetic, ["few", "many"], {"few": "numeric", "many": "numeric"})
    few, many = figure.axes
    assert ticks(few) == ["2", "3", "10", "missing"]
    assert lengths(few)[0] == pytest.approx([0.5, 0, 0.25, 0.25])
    assert lengths(few)[1] == pytest.approx([0, 0.5, 0.5, 0])
    steps = [patch.get_data() for patch in many.patches]
    both = np.concatenate([real["many"], synthetic["many"].dropna()])
    for (values, edges, _), column in zip(
        steps, (real["many"], synthetic["many"].dropna()), strict=True
    ):
        assert len(values) == 30
        assert (edges[0], edges[-1]) == (both.min(), both.max())
        assert values == pytest.approx(np.histogram(column, edges)[0] / len(column))
    assert many.get_title() == "many\nmissing: 0.0% real, 10.0% synth."
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "real, 200 rows",
        "synthetic, 60 rows",
    ]


def test_long_tails_open_the_outer_bins():
    real = pd.DataFrame({"x": [*np.linspace(0, 1, 999), 1e6]})
    axes = marginals(real, real, ["x"], {"x": "numeric"}).axes[0]
    values, edges, _ = axes.patches[0].get_data()
    assert edges[-1] < 1.1
    assert values.sum() == pytest.approx(1), "the tail is counted"
    assert axes.get_xlabel() == "outer bins hold the tails"


def test_thirty_columns_at_most():
    table = pd.DataFrame({f"c{i}": ["a", "b"] for i in range(35)})
    kinds = dict.fromkeys(table, "categorical")
    figure = marginals(table, table, list(table), kinds)
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == [
        f"c{i}" for i in range(30)
    ]
    assert figure.legends[0].get_title().get_text() == "the first 30 of 35 columns"
    assert marginals(table, table, list(table)[:2], kinds).legends[0].get_title().get_text() == ""


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no columns"), (["x"], "kinds lacks column 'x'"), (["y"], "real lacks column 'y'")],
)
def test_wrong_input_is_named(names, message):
    table = pd.DataFrame({"a": [1.0]})
    with pytest.raises(ValueError, match=message):
        marginals(table, table, names, {"a": "numeric", "y": "numeric"})
