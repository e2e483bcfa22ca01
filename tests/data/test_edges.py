"""A codec that keeps bin edges alone: the same tokens, and no value of a single row.

Numbers are distributed as they were.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from ordo.data import TableCodec, TableData
from ordo.data.decoding import from_plain, to_plain
from ordo.data.tables.columns import NumericColumn
from ordo.data.tables.edges import SHARED, edges_alone, holds, outward

N = 4000


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(17, 90, N),
            "gain": np.where(random.random(N) < 0.8, 0, random.lognormal(8, 1, N).round() * 3 + 1),
            "weight": random.integers(10_000, 2_000_000, N),
            "size": random.normal(size=N),
            "holes": np.where(random.random(N) < 0.2, np.nan, random.lognormal(size=N)),
            "word": random.choice(["a", "b"], N),
        }
    )
    data = TableData(frame=frame)
    data.setup()
    return data


def numbers(codec, frame):
    return frame.astype({c.name: float for c in codec.columns if isinstance(c, NumericColumn)})


def test_tokens_mean_the_same(data):
    """A number drawn from a token is read as that token by both codecs; rows are read alike."""
    edges = edges_alone(data.codec)
    tokens = data.train_set.tokens.long()
    for seed in range(3):
        drawn = numbers(edges, edges.decode(tokens, seed))
        assert torch.equal(edges.encode(drawn), tokens)
        assert torch.equal(data.codec.encode(drawn), tokens)
    for frame in data.frames.values():
        assert torch.equal(edges.encode(frame), data.codec.encode(frame))
    assert edges.vocab_sizes == data.codec.vocab_sizes


def test_no_value_of_a_single_row_is_kept(data):
    edges = edges_alone(data.codec)
    train = pd.concat([data.frames["train"], data.frames["validation"]])
    for name in ("gain", "weight", "size", "holes"):
        column = next(c for c in edges.columns if c.name == name)
        counts = train[name].value_counts()
        rare = set(counts.index[counts < SHARED])
        # A whole number beside an edge may be one that a row had
        by_chance = len(rare & set(column.values)) / len(rare)
        assert by_chance < (0.02 if name in ("gain", "weight") else 1e-9), name
        assert len(column.values) <= 2 * column.bins
        assert column.values[0] <= train[name].min()
        assert column.values[-1] >= train[name].max()
    gain = next(c for c in edges.columns if c.name == "gain")
    assert gain.decode(np.zeros(9, dtype=np.int64), np.random.default_rng(0)).tolist() == [0] * 9, (
        "a value that many rows share"
    )


def test_distributions_are_kept(data):
    """Every quantile of what is drawn lies where it lay, within a bin."""
    edges = edges_alone(data.codec)
    drawn, real = edges.decode(data.train_set.tokens.long(), 1), data.frames["train"]
    levels = np.linspace(0.02, 0.98, 25)
    for name in ("age", "weight", "size", "holes"):
        a, b = (np.quantile(f[name].dropna().astype(float), levels) for f in (drawn, real))
        assert np.abs(a - b).max() < 0.05 * (b[-1] - b[0]), name
    assert (drawn["holes"].isna() == real["holes"].isna()).all()
    assert (drawn["gain"] == 0).mean() == pytest.approx((real["gain"] == 0).mean())
    assert str(drawn["weight"].dtype) == "Int64"


def test_it_is_saved_and_told(data):
    edges = edges_alone(data.codec)
    again = TableCodec.from_state_dict(from_plain(to_plain(edges.state_dict())))
    tokens = data.test_set.tokens.long()
    assert again.decode(tokens, 5).equals(edges.decode(tokens, 5))
    assert torch.equal(again.encode(data.frames["test"]), tokens)
    assert edges_alone(again).decode(tokens, 5).equals(edges.decode(tokens, 5)), (
        "once more changes nothing"
    )
    count = sum(len(c.values) for c in data.codec.columns if isinstance(c, NumericColumn))
    assert f"{count:,} values of 5 numeric columns (most of " in holds(data.codec)
    assert "the bin edges of 5 numeric columns" in holds(edges)
    assert "2 categories of 1 column" in holds(edges)


def test_a_codec_of_an_earlier_version_is_read(data):
    state = data.codec.state_dict()
    for column in state["columns"]:
        del column["dtype"]
    assert TableCodec.from_state_dict(state).same_as(data.codec)


def test_constant_columns_and_ranges():
    data = TableData(frame=pd.DataFrame({"c": [2.5] * 40, "d": [0.5, 1.5] * 20}))
    data.setup()
    edges = edges_alone(data.codec)
    assert set(edges.decode(data.train_set.tokens.long())["c"]) == {2.5}
    assert outward(17, 90) == (17, 90)
    assert outward(12_285, 1_484_705) == (0, 1_500_000)
    assert outward(-3.407, 3.481) == pytest.approx((-3.5, 3.5))
    assert outward(2.0, 2.0) == (2.0, 2.0)


def test_a_bin_of_one_value_that_few_rows_have():
    """Fewer values than bins, each in five rows: none is kept; in twenty rows each: all are."""
    for copies, kept in ((5, 0), (20, 30)):
        values = [i * i / 7 for i in range(30)] * copies
        data = TableData(frame=pd.DataFrame({"v": values, "w": list(range(len(values)))}), bins=64)
        data.setup()
        column = edges_alone(data.codec).columns[0]
        assert len(set(column.values[1:-1]) & set(values[1:29])) == max(0, kept - 2)
