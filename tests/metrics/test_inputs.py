"""Every metric refuses the same tables, naming the column and the mend."""

import numpy as np
import pandas as pd
import pytest

from ordo.metrics import (
    alpha_beta,
    alpha_precision,
    beta_recall,
    c2st,
    dcr,
    mle,
    shape,
    shape_by_column,
    trend,
    trend_by_pair,
    wnmis,
)
from ordo.metrics.inputs import checked

METRICS = {
    **{
        each.__name__: each
        for each in (
            alpha_beta,
            alpha_precision,
            beta_recall,
            c2st,
            shape,
            shape_by_column,
            trend,
            trend_by_pair,
            wnmis,
        )
    },
    "dcr": lambda real, synthetic, kinds: dcr(synthetic, real, real, kinds),
    "mle": lambda real, synthetic, kinds: mle(synthetic, real, kinds, "c"),
}
KINDS = {"x": "numeric", "c": "categorical"}
GOOD = pd.DataFrame({"x": [1.0, 2.0, 3.0, np.nan], "c": ["a", "b", None, "a"]})
BAD = {
    "missing column": (GOOD[["c"]], "lacks column 'x'.*add it"),
    "no rows": (GOOD[:0], "no rows; give"),
    "text": (
        GOOD.assign(x=["1", "2", "3", "4"]),
        "numeric column 'x': '1' is not a number; convert",
    ),
    "mixed": (
        GOOD.assign(x=pd.Series([1, "two", None, 4], dtype=object)),
        "numeric column 'x': 'two' is not a number",
    ),
    "dates": (
        GOOD.assign(x=pd.Timestamp("2020-01-01")),
        "numeric column 'x': Timestamp.* is not a number",
    ),
    "infinite": (
        GOOD.assign(x=[1.0, np.inf, 2.0, 3.0]),
        "numeric column 'x': infinite values; replace",
    ),
    "twice": (pd.concat([GOOD, GOOD[["c"]]], axis=1), "column 'c' 2 times; rename"),
    "not a frame": (GOOD.to_numpy(), "is a ndarray; give a pandas DataFrame"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("metric", METRICS)
def test_refuses(metric, bad):
    table, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        METRICS[metric](GOOD, table, KINDS)
    with pytest.raises(ValueError, match=message):
        METRICS[metric](table, GOOD, KINDS)


@pytest.mark.parametrize("metric", METRICS)
def test_refuses_kinds(metric):
    with pytest.raises(
        ValueError, match=r"column 'x': unknown kind 'ordinal'; use 'numeric' or 'categorical'"
    ):
        METRICS[metric](GOOD, GOOD, {"x": "ordinal", "c": "categorical"})
    if metric != "mle":
        with pytest.raises(ValueError, match="names no columns"):
            METRICS[metric](GOOD, GOOD, {})


def test_refuses_settings():
    with pytest.raises(ValueError, match="classifier='forest'; use"):
        c2st(GOOD, GOOD, KINDS, "forest")
    with pytest.raises(ValueError, match="2 synthetic rows make no 3 folds"):
        c2st(GOOD, GOOD[:2], KINDS)
    with pytest.raises(ValueError, match="edges='synthetic'; use"):
        trend(GOOD, GOOD, KINDS, edges="synthetic")
    for metric in (trend, wnmis):
        with pytest.raises(ValueError, match="'x' is alone"):
            metric(GOOD, GOOD, {"x": "numeric"})
    with pytest.raises(ValueError, match=r"4 real and 3 synthetic rows.*rows=3"):
        alpha_beta(GOOD, GOOD[:3], KINDS)
    with pytest.raises(ValueError, match=r"'x' is the only one.*drop_last=False"):
        alpha_beta(GOOD[:3], GOOD[:3], {"x": "numeric"})
    with pytest.raises(ValueError, match="at least two"):
        alpha_beta(GOOD[:1], GOOD[:1], KINDS)


def test_what_is_accepted():
    numbers = {
        "object": pd.Series([1, 2.5, None, np.float32(4)], dtype=object),
        "nullable": pd.Series([1, 2, None, 4], dtype="Int64"),
        "truth": [True, False, True, True],
        "category": pd.Series([1, 2, 2, None], dtype="category"),
    }
    (table,) = checked(dict.fromkeys(numbers, "numeric"), real=pd.DataFrame(numbers))
    assert (table.dtypes == np.float64).all()
    assert table["object"].tolist()[:2] == [1, 2.5]
    assert table.isna().sum().tolist() == [1, 1, 0, 1]
    texts = {
        "object": ["a", None, np.nan, pd.NA],
        "str": pd.Series(["a", None, "b", "c"], dtype="str"),
        "numbers": [1, 2, 3, np.nan],
    }
    (table,) = checked(dict.fromkeys(texts, "categorical"), real=pd.DataFrame(texts))
    assert table["object"].tolist() == ["a", None, None, None]
    assert set(map(str, table.dtypes)) == {"object"}


def test_numbers_as_categories_match_across_dtypes():
    """Integers turn into floats where one is missing."""
    whole, holed = pd.DataFrame({"c": [1, 2, 3]}), pd.DataFrame({"c": [1, 2, 3, np.nan]})
    assert shape(whole, holed, {"c": "categorical"}) == pytest.approx(1)
