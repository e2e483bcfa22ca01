"""What a file says of a table's columns: read back as it was, or refused where it is damaged."""

import numpy as np
import pandas as pd
import pytest
import torch

from ordo.data import DataError, TableCodec
from ordo.data.decoding import Decoding
from ordo.data.tables.edges import edges_alone

FRAME = pd.DataFrame(
    {"x": np.arange(40.0) ** 1.5, "n": np.arange(40.0) % 7, "word": ["a", "b"] * 20}
)
NUMERIC = {
    "values": [
        torch.zeros(0),
        torch.zeros(1).expand(10**12),
        torch.zeros(30),
        torch.full((40,), torch.nan),
        [1.0],
        torch.zeros(40).to_sparse(),
    ],
    "weights": [
        torch.zeros(3).double(),
        torch.full((40,), torch.inf).double(),
        -torch.ones(40).double(),
        None,
    ],
    "starts": [
        torch.tensor([0, 5, 3]),
        torch.tensor([1, 2]),
        torch.tensor([0, 99]),
        torch.full((3,), -7),
        torch.zeros(3).double(),
    ],
    "whole": ["x", None],
    "missing": [1, "x"],
    "name": [3, None],
    "dtype": [3],
    "kind": ["eval", None],
    "cuts": [torch.zeros(2).double(), torch.full((9,), torch.nan).double()],
}
CATEGORICAL = {
    "categories": [[], [[1]], ["a", "a"], [None], [torch.zeros(1)]],
    "missing": [None],
    "name": [["a"]],
}


def states(codec):
    return {
        "TableData": {
            "codec": codec.state_dict(),
            "reading": {"missing": ["NA"], "delimiter": ",", "header": True},
        }
    }


@pytest.mark.parametrize("edges", [False, True])
def test_states_come_back_as_they_were(edges):
    codec = TableCodec.fit(FRAME, bins=10)
    codec = edges_alone(codec) if edges else codec
    Decoding(states(codec)).check()
    assert TableCodec.from_state_dict(codec.state_dict()).same_as(codec)


CASES = [(0, key, value) for key, values in NUMERIC.items() for value in values]
CASES += [(2, key, value) for key, values in CATEGORICAL.items() for value in values]


@pytest.mark.parametrize(("column", "key", "value"), CASES)
def test_damaged_columns(column, key, value):
    state = TableCodec.fit(FRAME, bins=10).state_dict()
    state["columns"][column][key] = value
    with pytest.raises(DataError, match=r"of the column .* is damaged"):
        TableCodec.from_state_dict(state)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reading", {}),
        ("reading", {"missing": 3, "delimiter": ","}),
        ("reading", {"missing": [], "delimiter": 1}),
    ],
)
def test_damaged_readings(key, value):
    state = states(TableCodec.fit(FRAME, bins=10))
    state["TableData"][key] = value
    with pytest.raises((DataError, KeyError, TypeError)):
        Decoding(state).check()


def test_no_columns_or_two_of_one_name():
    codec = TableCodec.fit(FRAME, bins=10)
    for columns in ((), codec.columns[:1] * 2):
        with pytest.raises(DataError, match="columns is damaged"):
            Decoding(states(TableCodec(columns))).check()
