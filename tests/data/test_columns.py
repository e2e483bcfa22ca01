"""Columns as tokens: exact for categories, faithful for numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

from ordo.data import DataError, TableCodec
from ordo.data.tables.columns import (
    CategoricalColumn,
    NumericColumn,
    column_from_state,
    column_state,
    quantile_bins,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("bins", [2, 3, 8, 64])
def test_quantile_bins(bins):
    for trial in range(40):
        random = np.random.default_rng(trial)
        counts = random.geometric(
            random.choice([0.02, 0.3, 0.9]), size=int(random.integers(1, 300))
        )
        of = quantile_bins(counts, bins)
        used = np.unique(of)
        assert used.tolist() == list(range(len(used)))
        assert len(used) <= bins
        assert (np.diff(of) >= 0).all(), "neighbours stay together"
        assert len(used) == len(counts) or len(counts) > bins, "few values: one each"


def test_equal_mass_without_spikes():
    sizes = np.bincount(quantile_bins(np.ones(1000, dtype=int), 64))
    assert len(sizes) == 64
    assert sizes.max() - sizes.min() <= 1


def test_spikes_are_alone():
    values = np.concatenate([np.zeros(5000), RANDOM.normal(size=3000), np.full(700, 0.5)])
    distinct, counts = np.unique(values, return_counts=True)
    of = quantile_bins(counts, 32)
    for spike in (0.0, 0.5):
        assert (of == of[distinct == spike]).sum() == 1
    others = np.bincount(of, weights=counts)[
        np.setdiff1d(np.unique(of), of[np.isin(distinct, (0.0, 0.5))])
    ]
    assert others.max() < 2.1 * others.min(), (
        "the rest is shared out evenly, but for the ends at the spikes"
    )
    assert len(np.unique(of)) >= 30, "and the bins are used"


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", None, "b"],
        [3, 1, 1, 2],
        [True, False, True, True],
        ["01", "1", "1.0", "x"],
        ["only", "only", "only", "only"],
    ],
)
def test_categories_come_back_exactly(values):
    series = pd.Series(values, name="c", dtype=object)
    column = CategoricalColumn.fit("c", series)
    tokens = column.encode(series)
    assert tokens.max() < column.vocab_size
    assert column.vocab_size == len(set(values))
    back = column.decode(tokens, RANDOM)
    assert [None if pd.isna(v) else v for v in back] == values
    assert [type(v) for v in back.dropna()] == [type(v) for v in values if v is not None]


def table_of_numbers(n=20_000):
    """Whole numbers, money, a spike with a tail, missing values, few values, one value."""
    random = np.random.default_rng(1)
    tail = np.where(random.random(n) < 0.9, 0.0, random.integers(100, 90_000, n))
    holes = np.where(random.random(n) < 0.2, np.nan, random.normal(size=n))
    return pd.DataFrame(
        {
            "age": random.integers(17, 91, n).astype(float),
            "price": np.round(random.lognormal(3, 1, n), 2),
            "tail": tail,
            "holes": holes,
            "few": random.choice([0.5, 1.5, 2.5], n),
            "one": np.full(n, 7.0),
        }
    )


def test_numbers_keep_their_marginals():
    """Ranges, whole numbers, spikes and missing values come back exactly.

    The distribution comes back within sampling error.
    """
    frame = table_of_numbers()
    n = len(frame)
    codec = TableCodec.fit(frame, bins=32)
    back = codec.decode(codec.encode(frame), seed=3)
    for name in frame:
        a, b = frame[name], back[name].astype(float)
        assert (a.isna() == b.isna()).all(), name
        a, b = np.sort(a.dropna()), np.sort(b.dropna())
        assert set(b) <= set(a), "only values that occur"
        assert (b[0], b[-1]) == pytest.approx((a[0], a[-1]), rel=0.5), name
        grid = np.unique(a)
        gap = (
            np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")).max() / n
        )
        assert gap < 1.4 / np.sqrt(n), (
            "redrawing within a bin moves the distribution function less than a fresh sample would"
        )
    assert str(back["age"].dtype) == "Int64"
    assert str(back["price"].dtype) == "float64"
    assert (back["tail"] == 0).sum() == (frame["tail"] == 0).sum(), "the spike has a bin of its own"
    assert back["few"].tolist() == frame["few"].tolist(), "as many bins as values: exact"
    assert (back["one"] == 7).all()


def test_values_within_a_bin_are_drawn_as_often_as_they_occurred():
    values = pd.Series(
        [1.0] * 60 + [2.0] * 30 + [3.0] * 10 + list(np.linspace(100, 200, 100)), name="v"
    )
    column = NumericColumn.fit("v", values, bins=2)
    drawn = column.decode(np.zeros(20_000, dtype=int), np.random.default_rng(0)).astype(float)
    low = values[column.encode(values) == 0]
    for value in (1.0, 2.0, 3.0):
        p = (low == value).mean()
        assert abs((drawn == value).mean() - p) < 4 * np.sqrt(p * (1 - p) / 20_000)


def test_many_distinct_values_are_thinned_by_rank():
    values = pd.Series(np.random.default_rng(0).exponential(size=50_000), name="v")
    column = NumericColumn.fit("v", values, bins=4)
    assert len(column.values) == 4 * NumericColumn.KEPT
    assert (column.values[0], column.values[-1]) == (values.min(), values.max())
    drawn = column.decode(column.encode(values), np.random.default_rng(0))
    assert abs(drawn.mean() - 1) < 0.02
    assert abs((drawn > 2).mean() - np.exp(-2)) < 0.004


def test_heavy_tails_are_not_made_heavier():
    """The extremes of a bin are drawn as often as they occurred, unlike its thinned values."""
    values = pd.Series(np.random.default_rng(0).pareto(1.5, 200_000), name="v")
    column = NumericColumn.fit("v", values, bins=64)
    last = column.weights[column.starts[-1] :]
    assert (last[0], last[-1]) == (1, 1)
    assert last.sum() == (column.encode(values) == column.bins - 1).sum()
    tokens = column.encode(values)
    drawn = [column.decode(tokens, np.random.default_rng(seed)) for seed in range(8)]
    assert np.mean([d.mean() for d in drawn]) == pytest.approx(values.mean(), rel=0.03)
    assert np.mean([(d == values.max()).sum() for d in drawn]) == pytest.approx(1, abs=4 / 8**0.5)


def test_numbers_at_the_limits_of_doubles():
    near = NumericColumn.fit("v", pd.Series([0.3, 0.1 + 0.2, 1.0]), 8)
    assert near.encode(pd.Series([0.3, 0.1 + 0.2, 1.0])).tolist() == [0, 1, 2], (
        "neighbouring doubles are two values"
    )
    column = NumericColumn.fit("v", pd.Series([-1.7e308, 1.7e308, 1.75e308]), 8)
    assert column.encode(pd.Series([-1.7e308, 1.7e308, 1.75e308])).tolist() == [0, 1, 2]


def test_new_numbers_go_to_the_nearest_bin():
    column = NumericColumn.fit("v", pd.Series([0.0, 10.0, 20.0]), bins=8)
    assert column.encode(pd.Series([-5.0, 4.0, 6.0, 14.9, 99.0])).tolist() == [0, 0, 1, 1, 2]


def test_what_cannot_be_encoded():
    frame = pd.DataFrame({"c": ["a", "b"] * 5, "v": np.arange(10.0)})
    codec = TableCodec.fit(frame, 4)
    with pytest.raises(DataError, match=r"'c' has the value 'z'.*leave these rows out"):
        codec.encode(frame.assign(c=["z"] + ["a"] * 9))
    with pytest.raises(DataError, match=r"'v' lacks a value in row 3"):
        codec.encode(frame.assign(v=[0, 1, np.nan, *range(7)]))
    with pytest.raises(DataError, match=r"'c' lacks a value in row 1"):
        codec.encode(frame.assign(c=[None] + ["a"] * 9))
    with pytest.raises(DataError, match="lacks the column 'v'"):
        codec.encode(frame[["c"]])
    with pytest.raises(DataError, match="'v' has tokens outside"):
        codec.decode(torch.tensor([[0, 4]]))
    with pytest.raises(DataError, match="at least 2"):
        TableCodec.fit(frame, 1)


def test_codec_survives_a_checkpoint(tmp_path):
    """Through a file that is read without executing code; and a later format is refused."""
    frame = table_of_numbers(500).assign(
        c=pd.Series(["x", None] * 250, dtype=object),
        flag=pd.Series([True, False] * 250, dtype=object),
    )
    codec = TableCodec.fit(frame, 16)
    torch.save(codec.state_dict(), tmp_path / "codec")
    again = TableCodec.from_state_dict(torch.load(tmp_path / "codec", weights_only=True))
    assert again.same_as(codec)
    tokens = codec.encode(frame)
    assert torch.equal(again.encode(frame), tokens)
    pd.testing.assert_frame_equal(again.decode(tokens, 5), codec.decode(tokens, 5))
    assert not codec.decode(tokens, 5).equals(codec.decode(tokens, 6)), (
        "another seed, other numbers"
    )
    assert not TableCodec.fit(frame, 8).same_as(codec)
    state = column_state(codec.columns[0])
    assert column_from_state(state).name == "age"
    with pytest.raises(DataError, match="version 2"):
        TableCodec.from_state_dict({**codec.state_dict(), "version": 2})
