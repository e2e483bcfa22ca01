"""Tables from files: inferred kinds, splits, the paper's sets in their real formats, refusals."""

import datetime
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from news import CHANNELS, DAYS, NEWS_NUMBERS, news_file

from ordo.data import TABLE_SETS, ChecksumError, DataError, MissingDataError, TableData
from ordo.data.tables.kinds import typed
from ordo.data.tables.splits import split_rows
from ordo.settings import SettingError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def write(path, text):
    path.write_text(text)
    return str(path)


def some_rows(n=60):
    return [
        f"{i % 7},{i * 1.5},{'abc'[i % 3]},{'?' if i % 5 == 0 else i},{i % 2 == 0}"
        for i in range(n)
    ]


def of(tmp_path, rows=None, header="k,v,c,m,b", **arguments):
    text = (
        "\n".join(
            ([header] if header is not None else []) + (some_rows() if rows is None else rows)
        )
        + "\n"
    )
    data = TableData(path=write(tmp_path / "t.csv", text), **{"batch_size": 8, **arguments})
    data.setup()
    return data


def test_kinds_are_inferred(tmp_path):
    data = of(tmp_path)
    assert data.codec.kinds == {
        "k": "categorical",
        "v": "numeric",
        "c": "categorical",
        "m": "numeric",
        "b": "categorical",
    }
    assert data.vocab_sizes == [7, 60 - len(data.test_set), 3, data.codec.columns[3].vocab_size, 2]
    assert data.codec.columns[3].missing
    assert (data.length, data.vocab_size) == (5, max(data.vocab_sizes))
    batch = next(iter(data.train_dataloader()))
    assert batch.shape == (8, 5)
    assert (batch < torch.tensor(data.vocab_sizes)).all()
    other = of(tmp_path, types={"k": "numeric", "b": "categorical", "c": "drop"})
    assert other.codec.kinds == {"k": "numeric", "v": "numeric", "m": "numeric", "b": "categorical"}


def test_rows_come_back(tmp_path):
    """The table that went in comes back, value for value, with as many bins as values.

    Strings, flags and holes are included.
    """
    data = of(tmp_path)
    for split, tokens in (
        ("train", data.train_set.tokens),
        ("validation", data.val_set.tokens),
        ("test", data.test_set.tokens),
    ):
        back = data.codec.decode(tokens)
        frame = data.frames[split]
        for name in ("k", "c", "b"):
            assert back[name].tolist() == frame[name].tolist()
        if split != "test":  # numbers of test rows are new
            assert back["v"].tolist() == frame["v"].tolist()
        assert (back["m"].isna() == frame["m"].isna()).all()
    assert re.match(
        r"k=\d, v=[\d.]+, c=[abc], m=(<NA>|\d+), b=(True|False)$",
        data.decode(data.test_set.tokens[:1])[0],
    )


def test_splits_are_disjoint_fixed_and_complete(tmp_path):
    data, again, other = of(tmp_path), of(tmp_path, seed=5), of(tmp_path, split_seed=7)
    v = [set(data.frames[s]["v"]) for s in ("train", "validation", "test")]
    assert [len(part) for part in v] == [49, 5, 6]
    assert set.union(*v) == {i * 1.5 for i in range(60)}
    assert again.frames["test"].equals(data.frames["test"]), (
        "the split is not a matter of the run's seed"
    )
    assert not other.frames["test"].equals(data.frames["test"])
    for name in ("k", "c", "b"):
        assert set(data.frames["train"][name]) == set(pd.concat(data.frames.values())[name])


def test_split_is_the_published_one():
    """Seeds advance until train has every category; where none does, the row moves."""
    frame = pd.DataFrame({"c": ["a"] * 19 + ["rare"]})
    rest, held = split_rows(frame, 0.1, 0)
    rows = np.arange(20)
    for seed in range(100):  # TabSyn's loop: one list of rows, shuffled by seed after seed
        np.random.seed(seed)  # noqa: NPY002
        np.random.shuffle(rows)  # noqa: NPY002
        if 19 in rows[:18]:
            break
    assert rest.tolist() == rows[:18].tolist()
    assert held.tolist() == rows[18:].tolist()
    unique = pd.DataFrame({"c": [f"id{i}" for i in range(15)] + ["same"] * 85})
    rest, held = split_rows(unique, 0.2, 0)
    assert set(unique["c"].iloc[held]) == {"same"}, (
        "rows with categories of their own are trained on"
    )
    assert sorted([*rest, *held]) == list(range(100))
    with pytest.raises(DataError, match="category of its own"):
        split_rows(pd.DataFrame({"c": [f"id{i}" for i in range(20)]}), 0.1, 0)


def test_details_of_files(tmp_path):
    """What spreadsheets and shells do to a CSV."""
    zips = of(tmp_path, [f"{i % 20:05d},{i}" for i in range(80)], "zip,n")
    assert zips.codec.kinds == {"zip": "categorical", "n": "numeric"}, "codes keep their zeros"
    tabs = of(
        tmp_path,
        [f"\t{i}\tx" for i in range(1, 40)],
        "a\tb\tc",
        delimiter="\\t",
        types={"a": "drop"},
    )
    assert sorted(tabs.codec.decode(tabs.train_set.tokens)["b"])[0] == 1, (
        "an empty first cell shifts nothing"
    )
    holes = of(tmp_path, ["1", "", "2", "", "3.5"] * 8 + ["", ""], "a")
    assert sum(len(frame) for frame in holes.frames.values()) == 40, (
        "holes in the middle, blank lines at the end"
    )
    assert holes.codec.columns[0].missing
    blank = of(tmp_path, ["1,x", "", "2,y"] * 10, "a,b")
    assert sum(len(frame) for frame in blank.frames.values()) == 20
    coded = of(
        tmp_path, [f"{-999 if i % 4 == 0 else i},k" for i in range(40)], "a,b", missing=[-999]
    )
    assert coded.codec.columns[0].missing
    assert coded.codec.columns[0].values.min() == 1
    word = of(
        tmp_path,
        [f"{i / 2},{'none' if i % 4 == 0 else 'n'}" for i in range(40)],
        "a,b",
        missing="none",
    )
    assert word.codec.columns[1].categories == ("n",), (
        "a single string is one mark, not its letters"
    )
    named = of(
        tmp_path, [f"{i},{['Acer', 'Infinity', 'Nokia'][i % 3]}" for i in range(40)], "n,brand"
    )
    assert named.codec.columns[1].categories == ("Acer", "Infinity", "Nokia")


def test_frames_of_all_kinds():
    """Rows are numbered anew; objects that a checkpoint could not hold are refused."""
    frame = pd.DataFrame({"v": np.arange(40) / 3, "c": ["x", "y"] * 20}, index=[7] * 40)
    frame.loc[:, "h"] = [None if i % 5 == 0 else float(i) for i in range(40)]
    data = TableData(frame=frame)
    data.setup()
    assert data.codec.kinds == {"v": "numeric", "c": "categorical", "h": "numeric"}
    levels = TableData(frame=pd.DataFrame({"c": pd.Categorical([1, 2, None, 2] * 10)}))
    levels.setup()
    assert levels.codec.columns[0].categories == (1, 2)
    plain = TableData(frame=pd.DataFrame({"d": [Decimal(i) / 4 for i in range(40)]}))
    plain.setup()
    assert plain.codec.kinds == {"d": "numeric"}
    days = [datetime.date(2020, 1, 1 + i % 3) for i in range(40)]
    for cells, kind in (
        (days, "date"),
        (pd.cut(np.arange(40), 3), "Interval"),
        ([[1]] * 40, "list"),
    ):
        with pytest.raises(
            DataError, match=rf"'o' holds {kind} objects, .*drop it: '\+data.types={{o: drop}}'"
        ):
            TableData(frame=pd.DataFrame({"o": cells})).setup()
    with pytest.raises(DataError, match="several levels"):
        TableData(frame=pd.DataFrame({("a", "b"): [1, 2]})).setup()


def test_parquet_and_frames(tmp_path):
    frame = pd.DataFrame(
        {
            "n": np.arange(40) * 1.5,
            "flag": [True, False] * 20,
            "word": pd.Categorical(["x", "y"] * 20),
            "count": pd.array([*range(39), None], dtype="Int64"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    from_file = TableData(path=str(tmp_path / "t.parquet"))
    from_frame = TableData(frame=frame)
    for data in (from_file, from_frame):
        data.setup()
        assert data.codec.kinds == {
            "n": "numeric",
            "flag": "categorical",
            "word": "categorical",
            "count": "numeric",
        }
        assert data.codec.columns[1].categories == (False, True)
    assert torch.equal(from_file.test_set.tokens, from_frame.test_set.tokens)
    with pytest.raises(DataError, match=r"'when' holds Timestamp objects"):
        TableData(frame=frame.assign(when=pd.Timestamp("2020-01-01"))).setup()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        TableData(path=str(tmp_path / "broken.parquet")).setup()


def test_test_rows_of_their_own(tmp_path):
    test = write(tmp_path / "test.csv", "k,v,c,m,b\n1,4.5,a,?,True\n2,1e9,b,3,False\n")
    data = of(tmp_path, test_path=test)
    assert len(data.test_set) == 2
    assert [len(data.frames[s]) for s in ("train", "validation")] == [54, 6]
    assert data.test_set.tokens[1, 1] == data.codec.columns[1].bins - 1, (
        "beyond the range: the last bin"
    )
    for line, message in [
        ("1,4.5,z,?,True", "'c' has the value 'z'"),
        ("1,,a,?,True", "'v' lacks a value in row 1"),
    ]:
        with pytest.raises(DataError, match=message):
            of(tmp_path, test_path=write(tmp_path / "new.csv", f"k,v,c,m,b\n{line}\n"))
    with pytest.raises(DataError, match=r"new.csv lacks the column 'k'"):
        of(tmp_path, test_path=write(tmp_path / "new.csv", "v,c,m,b\n1,a,?,True\n"))


def test_constant_column_and_hundreds_of_columns(tmp_path):
    data = of(tmp_path, [f"{i},same,4" for i in range(40)], header="i,c,n")
    assert data.vocab_sizes[1:] == [1, 1]
    assert data.codec.decode(data.test_set.tokens)["c"].tolist() == ["same"] * len(data.test_set)
    wide = of(
        tmp_path,
        [",".join(str((i * j) % 13 / 2) for j in range(300)) for i in range(40)],
        header=",".join(f"c{j}" for j in range(300)),
    )
    assert wide.length == 300


NUMBERS = [f"{i / 2}" for i in range(40)]
BAD = {
    "empty file": ("", {}, "cannot be read as CSV"),
    "header alone": ("a,b\n", {}, "no rows under its header"),
    "one row": ("a,b\n1,2\n", {}, "1 row.* cannot be split"),
    "no value in a column": (
        "a,b\n" + "1,?\n" * 20, {}, r"'b' has no value at all; drop it: '\+data.types={b: drop}'",
    ),
    "infinite": (
        "a\n" + "\n".join([*NUMBERS[:3], "inf", *NUMBERS[3:]]), {}, "'a' is infinite in row 4",
    ),
    "duplicate names": ("a,b,a\n" + "1,2,3\n" * 20, {}, "'a' occurs more than once"),
    "no name": ("a,,c\n" + "1,2,3\n" * 20, {}, "column 2 has no name"),
    "mixed": (
        "a\n" + "\n".join([*NUMBERS, "oops"]), {},
        "40 of 41 values are numbers, but row 41 holds 'oops'; mend it",
    ),
    "no header": (
        "\n".join(f"{i},{i / 3},g" for i in range(30)), {},
        "names that are numbers .*data.header=false",
    ),
    "ragged": ("a,b\n1,2\n1,2,3\n", {}, "cannot be read as CSV .*line 3"),
    "short line": ("a,b\n1,2\n1\n1,2\n", {}, "line 3 has fewer values"),
    "whole numbers that are not exact": (
        "a\n" + "\n".join(str(2**60 + i) for i in range(60)), {}, r"beyond 2\^53, in row 1",
    ),
    "two characters": ("a\n1\n", {"delimiter": ";;"}, "must be one character"),
    "identifier": (
        "a,b\n" + "\n".join(f"id{i},1" for i in range(1500)), {},
        r"'a' has 1500 different values.*'\+data.types={a: drop}'",
    ),
    "no value, told to be numeric": (
        "a,b\n" + "1,?\n" * 20, {"types": {"b": "numeric"}}, r"'b' has no value at all",
    ),
    "type of no column": (
        "a\n" + "\n".join(NUMBERS), {"types": {"z": "drop"}}, "'z', which is no column",
    ),
    "unknown type": (
        "a\n" + "\n".join(NUMBERS), {"types": {"a": "number"}}, "numeric, categorical or drop",
    ),
    "not numeric": ("a\nx\ny\n", {"types": {"a": "numeric"}}, "to be numeric, but holds 'x'"),
    "all dropped": ("a\n1\n", {"types": {"a": "drop"}}, "every column is dropped"),
    "no such target": ("a\n" + "\n".join(NUMBERS), {"target": "z"}, "data.target='z' is no column"),
    "another encoding": (b"a\n\xff\xfe\n", {}, "cannot be read as CSV .*UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(case, tmp_path):
    content, arguments, message = BAD[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((DataError, SettingError), match=message):
        TableData(path=str(path), **arguments).setup()


def test_bad_arguments(tmp_path):
    for arguments, message in [
        ({}, "which table"),
        ({"name": "iris"}, "unknown table 'iris'; choices: adult"),
        ({"path": "x", "frame": pd.DataFrame()}, "either a frame"),
        ({"name": "adult", "types": {"age": "drop"}}, "own types"),
        ({"path": "x", "test_share": 1.0}, "test_share=1.0: must be a number above 0, and below 1"),
        ({"path": "x", "limit_eval": 0}, "limit_eval"),
    ]:
        with pytest.raises((DataError, SettingError), match=message):
            TableData(**arguments)
    with pytest.raises(MissingDataError, match=r"no such file: .*gone\.csv .*data\.path"):
        TableData(path=str(tmp_path / "gone.csv")).setup()
    with pytest.raises(MissingDataError, match=r"adult\.data .*curl -L -o"):
        TableData(name="adult", data_dir=str(tmp_path), download=False).setup()
    with pytest.raises(MissingDataError, match=r"UCI_Credit_Card\.csv .*save it as CSV, in "):
        TableData(name="default", data_dir=str(tmp_path)).setup()
    write(tmp_path / "magic04.data", "1,2\n")
    with pytest.raises(ChecksumError, match="wrong md5"):
        TableData(name="magic", path=str(tmp_path)).setup()


def test_typed_leaves_strings_alone():
    frame = typed(pd.DataFrame({"zip": ["01234", "1234"] * 20}), {"zip": "categorical"})
    assert frame["zip"].unique().tolist() == ["01234", "1234"]


def test_news(tmp_path):
    """Flags become two columns, and the addresses are gone."""
    news_file(tmp_path / "OnlineNewsPopularity.csv")
    data = TableData(name="news", path=str(tmp_path))
    data.setup()
    frame = pd.concat(data.frames.values())
    assert list(frame.columns) == [*NEWS_NUMBERS, "is_weekend", "shares", "data_channel", "weekday"]
    frame = frame.sort_values("shares")
    assert frame["data_channel"].tolist() == [[*CHANNELS, "none"][i % 7] for i in range(80)]
    assert frame["weekday"].tolist() == [DAYS[i % 7] for i in range(80)]
    assert data.codec.kinds["is_weekend"] == "numeric"
    assert data.target == "shares"
    text = (
        (tmp_path / "OnlineNewsPopularity.csv")
        .read_text()
        .replace("1.0, 0.0, 0.0", "1.0, 1.0, 0.0", 1)
    )
    (tmp_path / "OnlineNewsPopularity.csv").write_text(text)
    with pytest.raises(DataError, match=r"row 1 has several of data_channel_is_"):
        TableData(name="news", path=str(tmp_path)).setup()


# Numeric columns, categorical columns with the target; rows of train + validation, rows of test.
SHAPES = {
    "adult": (6, 9, 32_561, 16_281),
    "default": (14, 10, 27_000, 3_000),
    "shoppers": (10, 8, 11_097, 1_233),
    "magic": (10, 1, 17_118, 1_902),
    "beijing": (7, 5, 37_581, 4_176),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_papers_tables(name):
    if not (SHARED / name).is_dir():
        pytest.skip("the raw files are not at hand")
    data = TableData(name=name, path=str(SHARED / name))
    data.setup()
    kinds = list(data.codec.kinds.values())
    numeric, categorical, rest, test = SHAPES[name]
    assert (kinds.count("numeric"), kinds.count("categorical")) == (numeric, categorical)
    assert len(data.frames["train"]) + len(data.frames["validation"]) == rest
    assert len(data.frames["test"]) == test
    for split in ("validation", "test"):
        for column in (c for c, kind in data.codec.kinds.items() if kind == "categorical"):
            assert set(data.frames[split][column]) <= set(data.frames["train"][column]), column


def test_six_sets_are_described():
    assert set(TABLE_SETS) == {*SHAPES, "news"}
    for table in TABLE_SETS.values():
        assert table.by_hand or all(file.url for file in table.files)
