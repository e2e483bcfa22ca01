"""Rows with given values, files with gaps, and the notes on both."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from ordo.data import DataError, TableData
from ordo.data.tables.conditions import given_cells, reads_as
from ordo.data.tables.frames import read_table
from ordo.data.tables.gaps import file_cells
from ordo.data.tables.table_file import in_own_types, write_table

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")
N = 90


def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": random.integers(20, 60, N).astype(str),
            "id": [f"id{i}" for i in range(N)],
            "country": random.choice(["DE", "FR", ""], N),
            "zip": random.choice(["01234", "1235", "00099"], N),
            "gain": np.where(
                random.random(N) < 0.3, "", np.round(random.lognormal(size=N), 2).astype(str)
            ),
            "flag": random.choice(["true", "false"], N),
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data module of a table without its second column, and its file."""
    path = tmp_path_factory.mktemp("table") / "t.csv"
    frame().to_csv(path, index=False)
    data = TableData(path=str(path), types={"id": "drop", "zip": "categorical"})
    data.setup()
    return data, path


def decoded(data, conditions, text=True):
    """The whole table, as if the model drew token 0 wherever nothing is given."""
    drawn = data.codec.decode(torch.where(conditions.known, conditions.tokens, 0))
    return in_own_types(conditions.merged(drawn, text), data.codec, text)


@pytest.mark.parametrize("value", ["NA", "", None, "?", float("nan")])
def test_missing_is_a_condition(trained, value):
    """A missing value may be given to a column of either kind that had some, and to no other."""
    data, _ = trained
    codec = data.codec
    for name in ("country", "gain"):
        found = given_cells(codec, {name: value}, MISSING, 3)
        i = codec.names.index(name)
        assert found.known[:, i].all()
        assert (found.tokens[:, i] == codec.vocab_sizes[i] - 1).all(), (
            "the token of missing values, the last"
        )
        assert found.known.sum() == 3
        for text in (True, False):
            assert decoded(data, found, text)[name].isna().all()
    for name in ("age", "zip"):
        with pytest.raises(
            DataError,
            match=f"given.{name}=.* means a missing value, but the column had none in training",
        ):
            given_cells(codec, {name: value}, MISSING, 3)


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ({"age": 33}, {"age": "33"}),
        ({1: 33, 5: True}, {"age": "33", "flag": "true"}),
        ({"flag": False}, {"flag": "false"}),
        ({"zip": "01234"}, {"zip": "01234"}),
        ({"zip": 1235}, {"zip": "1235"}),
        ({"gain": "1.50"}, {"gain": "1.50"}),
        ({}, {}),
        (None, {}),
    ],
)
def test_given(trained, given, cells):
    data, _ = trained
    found = given_cells(data.codec, given, MISSING, 2)
    assert {name: found.cells[name].tolist() for name in found.cells} == {
        name: [cell] * 2 for name, cell in cells.items()
    }
    assert [data.codec.names[i] for i in found.known[0].nonzero()[:, 0]] == [
        n for n in data.codec.names if n in cells
    ]
    again = data.codec.encode(
        decoded(data, found, text=False).astype({"age": float, "gain": float})
    )
    assert torch.equal(again[found.known], found.tokens[found.known])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ages": 3}, "given.ages: no such column; the model has age, country"),
        ({"id": "id3"}, "given.id: no such column"),
        ({9: 3}, "the number 9, which is no column of the model"),
        ({"zip": 1234}, "has the value 1234"),
        ({"zip": 99}, "has the value 99"),
        ({"country": "XX"}, "has the value 'XX'"),
        ({"age": "old"}, "is to be numeric, but holds 'old'"),
        ({"age": "3,5"}, "a number with a decimal comma"),
        ({"age": True}, "is to be numeric, but holds 'True'"),
        ({"age": 1000}, "given.age=1000 lies outside of what was seen, 20 to 59"),
        ({"age": [20, 30]}, "which is no value"),
        ({"age": {"x": 3}}, "which is no value"),
        ({True: 3}, "is read as no name"),
        ({"age": 33, 1: 34}, "names the column 'age' twice"),
        ({"age": "inf"}, "infinite"),
    ],
)
def test_given_that_cannot_be(trained, given, message):
    with pytest.raises(DataError, match=message) as error:
        given_cells(trained[0].codec, given, MISSING, 2)
    assert len(str(error.value).splitlines()) == 1


def test_given_in_a_file(trained, tmp_path):
    (tmp_path / "g.yaml").write_text("zip: 00099\nflag: true\ncountry: NA\nage: 33\n")
    found = given_cells(trained[0].codec, str(tmp_path / "g.yaml"), MISSING, 1)
    assert found.cells.fillna("-").to_dict("records") == [
        {"zip": "00099", "flag": "true", "country": "-", "age": "33"}
    ]


def test_what_a_value_may_mean():
    assert reads_as("1", ["1", "01"]) == ["1"]
    assert reads_as(1, ["01", "1"]) == ["1"]
    assert reads_as(1, ["01"]) == [], "a code is no number"
    assert reads_as("1", ["01"]) == []
    assert reads_as("1", [1.0, 2.0]) == [1.0]
    assert reads_as(1.0, ["1", "2"]) == ["1"]
    assert reads_as(True, ["TRUE", "FALSE"]) == ["TRUE"]
    assert reads_as(True, [False, True]) == [True]
    assert reads_as("True", [False, True]) == [True]
    assert reads_as(1, [False, True]) == [], "a number is no flag"
    assert reads_as(2, ["2.0", "2.00"]) == ["2.0", "2.00"], "which of them nobody knows"
    assert reads_as("x", [" x", "y"]) == [" x"]


WRITTEN = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


@pytest.mark.parametrize(
    ("trained_with", "given_as"), list(itertools.product(WRITTEN, [*WRITTEN, "parquet"]))
)
def test_the_training_file_itself(trained_with, given_as, tmp_path):
    """Kept cells and columns stay as they stand, under any delimiter, and are read again."""
    whole = frame()
    whole.to_csv(tmp_path / "t.csv", index=False, sep=WRITTEN[trained_with])
    data = TableData(
        path=str(tmp_path / "t.csv"),
        delimiter=WRITTEN[trained_with],
        types={"id": "drop", "zip": "categorical"},
    )
    data.setup()
    state = data.state_dict()
    path = tmp_path / ("g.parquet" if given_as == "parquet" else "g.csv")
    whole.to_parquet(path) if given_as == "parquet" else whole.to_csv(
        path, index=False, sep=WRITTEN[given_as]
    )
    for _ in range(2):  # what is written is read again
        found = file_cells(data.codec, path, state["reading"])
        filled = decoded(data, found, text=True)
        assert list(filled.columns) == list(whole.columns), (
            "the column that the model does not know is in its place"
        )
        kept = whole != ""
        assert (filled.where(kept) == whole.where(kept)).to_numpy()[kept.to_numpy()].all()
        assert any("kept as they are: id" in line for line in found.notes)
        other = given_as not in ("parquet", trained_with)
        assert any("is read with delimiter=" in line for line in found.notes) == other
        path = tmp_path / "again.csv"
        write_table(path, filled, found.delimiter)


def test_no_header(tmp_path):
    """A table without a header is read again: its own file, and one written with a header."""
    whole = frame()
    whole.to_csv(tmp_path / "t.csv", index=False, header=False)
    data = TableData(
        path=str(tmp_path / "t.csv"), header=False, types={2: "drop", 4: "categorical"}
    )
    data.setup()
    assert data.codec.names == ["column_1", "column_3", "column_4", "column_5", "column_6"]
    reading = data.state_dict()["reading"]
    path = tmp_path / "t.csv"
    for _ in range(3):
        found = file_cells(data.codec, path, reading)
        filled = decoded(data, found)
        assert list(filled.columns) == [f"column_{i}" for i in range(1, 7)]
        assert filled["column_2"].tolist() == whole["id"].tolist()
        assert filled["column_4"].tolist() == whole["zip"].tolist()
        path = tmp_path / "written.csv"
        write_table(path, filled)
    whole.drop(columns="age").to_csv(tmp_path / "short.csv", index=False, header=False)
    with pytest.raises(DataError, match="has 5 columns and no header, the training table had 6"):
        file_cells(data.codec, tmp_path / "short.csv", reading)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column of the model; it has 'a', 'b', the model age"),
        (
            "Age,zip\n33,01234\n",
            "has the column 'Age', which the model has not, and lacks 'age': rename it",
        ),
        ("agee,zip\n33,01234\n", "lacks 'age': rename it"),
        ("age,zip\nold,01234\n", "is to be numeric, but holds 'old'"),
        ("age;gain\n33;1,5\n", "a number with a decimal comma"),
        ("age,zip\n33,99\n", "has the value '99'"),
        ("age,age\n33,34\n", "occurs more than once"),
        ("33,DE,01234,1.5,true\n34,FR,01234,1.5,true\n", "put one above the rows"),
        ("age\n", "no rows under its header"),
        ("", "it is empty"),
        ("age,zip\n33\n", "fewer values than others"),
        ("age\tzip;age\n1\t2;3\n", "may have several delimiters: say which"),
    ],
)
def test_files_that_do_not_fit(trained, content, message, tmp_path):
    (tmp_path / "h.csv").write_text(content)
    with pytest.raises(DataError, match=message) as error:
        file_cells(trained[0].codec, tmp_path / "h.csv", trained[0].state_dict()["reading"])
    assert len(str(error.value).splitlines()) == 1


def test_values_far_outside_are_said(trained, tmp_path):
    (tmp_path / "h.csv").write_text("age,zip\n33,01234\n200,01234\n19,01234\n59,01234\n")
    found = file_cells(trained[0].codec, tmp_path / "h.csv", trained[0].state_dict()["reading"])
    told = [line for line in found.notes if "outside of what was seen" in line]
    assert len(told) == 1
    assert "2 values of 'age', such as 200, outside of what was seen, 20 to 59" in told[0]
    assert decoded(trained[0], found)["age"].tolist() == ["33", "200", "19", "59"], (
        "kept as they were given"
    )


def test_cells_that_are_missing_again_are_counted(trained):
    data, _ = trained
    found = given_cells(data.codec, {"country": "NA"}, MISSING, 4)
    tokens = found.tokens.clone()
    tokens[1:, data.codec.names.index("gain")] = data.codec.columns[3].vocab_size - 1
    assert found.still_missing(data.codec.decode(tokens)) == {"gain": 3}, (
        "what is given as missing is not counted"
    )


def test_types_survive(tmp_path):
    """A Parquet table keeps its types in Parquet; in CSV its numbers are as short as they were."""
    random = np.random.default_rng(1)
    gaps = random.random(N) < 0.3
    own = pd.DataFrame(
        {
            "count": pd.array(np.where(gaps, 0, random.integers(0, 500, N)), dtype="Int64"),
            "few": pd.array(random.integers(0, 3, N), dtype="Int32"),
            "single": random.normal(size=N).astype(np.float32),
            "tiny": random.integers(0, 100, N).astype(np.int8),
            "flag": pd.array(random.random(N) < 0.5, dtype="boolean"),
            "gappy": np.where(gaps, np.nan, random.integers(0, 400, N)),
            "word": pd.Categorical(random.choice(["x", "y"], N)),
            "text": random.choice(["x", "1", "1.0"], N),
            "double": random.normal(size=N),
        }
    )
    for name in ("count", "few", "flag"):
        own.loc[gaps, name] = pd.NA
    own.to_parquet(tmp_path / "t.parquet")
    data = TableData(path=str(tmp_path / "t.parquet"))
    data.setup()
    before = pd.read_parquet(tmp_path / "t.parquet")
    drawn = data.codec.decode(data.train_set.tokens)
    write_table(tmp_path / "s.parquet", in_own_types(drawn, data.codec, text=False))
    after = pd.read_parquet(tmp_path / "s.parquet")
    assert after.dtypes.to_dict() == before.dtypes.to_dict()
    for name in before.columns:
        assert set(after[name].dropna()) <= set(before[name].dropna()), name
    write_table(tmp_path / "s.csv", in_own_types(drawn, data.codec, text=True))
    written = read_table(tmp_path / "s.csv")
    for name in ("count", "few", "gappy", "tiny"):
        assert written[name].str.fullmatch(r"\d*").all(), "whole numbers are written so"
    assert (written["gappy"] == "").any()
    assert set(written["single"]) <= {str(np.float32(v)) for v in own["single"]}
    found = file_cells(data.codec, tmp_path / "t.parquet", data.state_dict()["reading"])
    filled = decoded(data, found, text=False)
    write_table(tmp_path / "f.parquet", filled)
    back = pd.read_parquet(tmp_path / "f.parquet")
    for name in ("single", "tiny", "double", "word", "text"):
        assert back[name].tolist() == before[name].tolist()
        assert back[name].dtype == before[name].dtype
    assert back["count"].dtype == "Int64"
    assert (back["count"] == before["count"])[~gaps].all()
    other = pd.DataFrame({"tiny": [3, 1000], "single": [0.5, -0.5]})
    other.to_parquet(tmp_path / "h.parquet")
    found = file_cells(data.codec, tmp_path / "h.parquet", data.state_dict()["reading"])
    assert decoded(data, found, text=False)["tiny"].tolist() == [3, 1000], (
        "not cut to what the type holds"
    )


def test_cells_come_back_from_a_file(tmp_path):
    """Line ends of every kind, quotes, delimiters and gaps, under every delimiter."""
    own = pd.DataFrame(
        {
            "v, w": [
                "a\rb",
                "a\nb",
                "a\r\nb",
                'q"q',
                "x,y",
                "x;y",
                "x\ty",
                "a\u2028b",
                "a\x85b",
                "",
                "-",
            ],
            "n": range(11),
        }
    )
    for delimiter in (",", ";", "\t", "|"):
        write_table(tmp_path / "t.csv", own, delimiter)
        assert (
            read_table(tmp_path / "t.csv", delimiter=delimiter)["v, w"].tolist()
            == own["v, w"].tolist()
        )
    write_table(tmp_path / "t.csv", pd.DataFrame({"v": ["1", None, "2", None]}))
    assert read_table(tmp_path / "t.csv")["v"].tolist() == ["1", "", "2", ""]
