"""What cells are taken for: right, or refused in one line, or said; never otherwise."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from ordo.data import DataError, TableData
from ordo.data.tables.number_formats import convention, is_date


def table(cells, tmp_path, **arguments):
    """A table of a file with these cells in column v, beside another."""
    lines = [
        f'"{cell}",{"xyz"[i % 3]}'
        for i, cell in zip(range(60), itertools.cycle(cells), strict=False)
    ]
    (tmp_path / "t.csv").write_text("v,other\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = TableData(path=str(tmp_path / "t.csv"), **arguments)
    data.setup()
    return data


def many(form):
    return [form.format(i=i, j=i % 10, k=100 + i) for i in range(1, 31)]


OTHER_WRITINGS = {
    "decimal comma": many("{i},{j}4"),
    "thousands by comma": many("{i},{k}"),
    "millions by comma": many("{i},{k},{k}"),
    "thousands by comma and a point": many("{i},{k}.50"),
    "thousands by point": many("{i}.{k},{j}5"),
    "millions by point": many("{i}.{k}.{k}"),
    "thousands by blank": many("{i} {k}"),
    "thousands by narrow blank": many("{i}\u202f{k},5"),
    "thousands by hard blank": many("{i}\u00a0{k}"),
    "thousands by apostrophe": many("{i}'{k}"),
    "thousands by underscore": many("{i}_{k}"),
    "Indian groups": many("{i},00,000"),
    "percent": many("{i}.{j}%"),
    "percent with a blank": many("{i} %"),
    "percent with a comma": many("{i},{j} %"),
    "dollars": many("${i}.{j}0"),
    "minus dollars": many("-${i}"),
    "euros behind": many("{i},{j}0 €"),
    "pounds": many("£{i},{k}"),
    "a currency's name": many("EUR {i}"),
    "brackets": many("({i})"),
    "minus behind": many("{i}-"),
    "single quotes": many("'{i}'"),
    "a spreadsheet's mark of text": many("'{i}"),
    "a typographic minus": many("\u2212{i}"),
    "Arabic digits": ["٣٤", "٥٦", "١٢", "٧"] * 3,
    "wide digits": ["１２", "３４", "５６"],
    "few of them": ["1,5", "2,5", "3,5"],
    "some of them": [*many("{i}"), "1,234"],
    "with gaps": ["1,5", "", "NA", "2,5", "3,75"],
}


@pytest.mark.parametrize("case", OTHER_WRITINGS)
def test_numbers_in_another_writing(case, tmp_path):
    """Refused, naming cell and format; a category only if the user says so; never numeric."""
    cells = OTHER_WRITINGS[case]
    with pytest.raises(
        DataError, match=r"'v' holds .* a number with .*'\+data.types={v: categorical}'"
    ) as error:
        table(cells, tmp_path)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(DataError, match=r"'v' is to be numeric, but holds"):
        table(cells, tmp_path, types={"v": "numeric"})
    data = table(cells, tmp_path, types={"v": "categorical"})
    assert set(data.codec.columns[0].categories) == {c for c in cells if c not in ("", "NA")}


def test_writings_of_no_number():
    """Words, versions, ranges, addresses, codes: nothing that a number is written like."""
    for cell in [
        "1,2,3", "1.2.3", "v1,5", "10.0.0.1", "5A", "12 kg", "<5", ">=50K", "1-5", "A,B", "-", "$",
        "%", "", "one", "1/2", "+", "e5",
    ]:  # fmt: skip
        assert convention(cell) is None, cell


@pytest.mark.parametrize(
    "form",
    ["2020-01-{i:02d}", "{i}/1/2020", "01.{i:02d}.20", "2020/1/{i}", "{i} Mar 2021",
     "March {i}, 2021", "2020-01-{i:02d}T10:00:00Z", "2020-01-{i:02d} 10:00:00.5", "10:{i:02d}",
     "3:{i:02d}:00 PM"],
)  # fmt: skip
def test_dates(form, tmp_path):
    cells = [form.format(i=i) for i in range(10, 28)]
    assert all(map(is_date, cells))
    with pytest.raises(
        DataError, match=r"'v' holds 18 different dates or times, such as .*: drop}'; as categories"
    ):
        table(cells, tmp_path)
    data = table(cells[:4], tmp_path)
    assert data.codec.kinds["v"] == "categorical"
    assert any(
        "dates read as categories" in line and "v (4 different" in line for line in data.notes
    )
    assert not any(
        map(is_date, ["1.5", "2020", "1-5", "12:", "a:b", "1,5", "May", "10/20", "1/2/3/4"])
    )


PLAIN = {  # cells -> the numbers they are
    "points": (["1.5", "2.25", "-3.125", "+4.5"] * 3, [1.5, 2.25, -3.125, 4.5]),
    "exponents": ([f"{i}e5" for i in range(1, 20)], [i * 1e5 for i in range(1, 20)]),
    "large exponents": (
        [f"{i}.5E-300" for i in range(1, 20)],
        [float(f"{i}.5e-300") for i in range(1, 20)],
    ),
    "no digit before the point": (
        [f".{i}5" for i in range(1, 20)],
        [float(f".{i}5") for i in range(1, 20)],
    ),
    "up to 2^53": ([str(2**53 - i) for i in range(20)], [2**53 - i for i in range(20)]),
}


@pytest.mark.parametrize("case", PLAIN)
def test_numbers(case, tmp_path):
    cells, numbers = PLAIN[case]
    data = table(cells, tmp_path, test_share=0.02, val_share=0.02)
    assert data.codec.kinds["v"] == "numeric"
    assert set(data.codec.columns[0].values) == set(numbers)
    assert not data.notes


CATEGORIES = {  # cells -> a note of how they were read, or None where it is obvious
    "zip codes": (
        [f"{i:05d}" for i in range(90, 120)],
        r"numbers read as categories .*v \(codes such as 000\d\d\)",
    ),
    "few whole numbers": (["1", "2", "3"], r"numbers read as categories .*v \(3 different\)"),
    "flags": (["True", "False"], None),
    "other flags": (["yes", "no"], None),
    "hexadecimal": ([f"0x{i:02X}" for i in range(20)], r"numbers with text behind them"),
    "units": (
        [f"{i} kg" for i in range(20)],
        r"numbers with text behind them, read as categories .*such as \d+ kg",
    ),
    "few numbers and a word": (["1", "2", "many"], r"numbers and text in one column"),
    "words": (["red", "green"], None),
    "words and a number": (["red", "green", "blue", "7"], r"numbers and text in one column"),
    "countries": (["DE", "FR", "NA"], r"read as missing .*v \(20 cells 'NA'\)"),
    "names": (["Ann", "null", "?"], r"read as missing .*v \(20 cells 'null', 20 cells '\?'\)"),
    "ranges": (["0-9", "10-19", "20-29"], "numbers with text behind"),
    "infinity as a name": (["Acer", "Infinity", "Nokia"], None),
}


@pytest.mark.parametrize("case", CATEGORIES)
def test_categories_and_what_is_said(case, tmp_path):
    cells, note = CATEGORIES[case]
    data = table(cells, tmp_path)
    assert data.codec.kinds["v"] == "categorical"
    missing = {"NA", "null", "?"}
    assert set(data.codec.columns[0].categories) == set(cells) - missing, "as they are written"
    if note is None:
        assert data.notes == []
    else:
        assert any(re.search(note, line) for line in data.notes), data.notes
    assert all(len(line.splitlines()) == 1 for line in data.notes)
    assert data.describe()["notes"] == data.notes


def test_a_mark_that_is_a_category(tmp_path):
    """Namibia stays a country where the user says what is missing."""
    data = table(["DE", "NA"], tmp_path, missing=[""])
    assert data.codec.columns[0].categories == ("DE", "NA")
    assert not data.codec.columns[0].missing
    assert data.notes == []


REFUSED = {
    "very long whole numbers": ([str(10**17 + i) for i in range(30)], r"beyond 2\^53"),
    "longer ones": ([str(10**30 + i) for i in range(30)], r"beyond 2\^53"),
    "infinite": ([*many("{i}.5"), "inf"], "is infinite in row 31"),
    "too large": ([*many("{i}.5"), "1e400"], "is infinite"),
    "a word among numbers": ([*many("{i}.5"), "oops"], r"30 of|but row 31 holds 'oops'"),
    "no value": (["NA", "", "?"], r"no value at all; drop it: '\+data.types={v: drop}'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    cells, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as error:
        table(cells, tmp_path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([True, 1, 0, False] * 15, "flags and numbers"),
        ([1, "1", "a"] * 20, "read the same, such as 1 and '1'"),
        ([b"x", b"y"] * 30, "holds bytes objects"),
        ([1 + 2j] * 60, "holds complex objects"),
        (pd.to_timedelta(range(60), unit="s"), "holds Timedelta objects"),
        ([{"a": 1}] * 60, "holds dict objects"),
    ],
)
def test_frames(cells, message):
    with pytest.raises(DataError, match=message):
        TableData(frame=pd.DataFrame({"v": pd.Series(cells), "w": range(60)})).setup()


def test_numbers_and_their_texts_are_alike_where_all_are_numbers():
    data = TableData(
        frame=pd.DataFrame({"v": pd.Series([1.5, "2.5", np.float32(3.5)] * 20, dtype=object)})
    )
    data.setup()
    assert data.codec.columns[0].values.tolist() == [1.5, 2.5, 3.5]


def test_too_many_categories_name_the_column(tmp_path):
    """The column that no row can do without, and the delimiter where all is one column."""
    path = tmp_path / "t.csv"
    path.write_text("ok,i d\n" + "".join(f"{'xy'[i % 2]},id{i}\n" for i in range(60)))
    with pytest.raises(
        DataError,
        match=r"column 'i d' has 60 of them, such as 'id\d+': .*drop it: '\+data.types={2: drop}'$",
    ):
        TableData(path=str(path)).setup()
    path.write_text("a^b\n" + "".join(f"{i}^{i}x\n" for i in range(60)))
    with pytest.raises(
        DataError, match=r"drop it: '\+data.types={1: drop}'; or is data.delimiter another\?"
    ):
        TableData(path=str(path)).setup()


def test_notes_are_short(tmp_path):
    frame = pd.DataFrame({f"c{i}": [0, 1] * 30 for i in range(50)} | {"gone": range(60)})
    data = TableData(frame=frame, types={"gone": "drop"})
    data.setup()
    assert len(data.notes) == 2
    assert "c7 (2 different) and 42 more" in data.notes[0]
    assert data.notes[1] == "the frame: columns left out, as data.types says: gone"
