"""CSV files as people have them: read as they stand, or refused in one line with the mend.

No file is taken for something else.
"""

import gzip
import io
import re
import shlex
import zipfile

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ordo.data import DataError, TableData
from ordo.data.tables.csv_file import DELIMITERS
from ordo.data.tables.frames import read_table

ROWS = [[f"{i / 2}", "abc"[i % 3], str(i % 4)] for i in range(40)]


def text(delimiter=",", header=("size", "kind", "code"), rows=ROWS, end="\n"):
    return (
        end.join(delimiter.join(row) for row in ([*([list(header)] if header else []), *rows]))
        + end
    )


def read(tmp_path, content, name="t.csv", **arguments):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_table(path, **arguments)


def zipped():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("sheet.xml", "x")
    return packed.getvalue()


@pytest.mark.parametrize("delimiter", [d for d in DELIMITERS if d not in ", "])
def test_another_delimiter_is_named(delimiter, tmp_path):
    """The right delimiter is named whichever was set, and setting it reads the same table."""
    right = read(tmp_path, text())
    shown = {"\t": r"'\\t'", "|": r"'\|'"}.get(delimiter, f"'{delimiter}'")
    with pytest.raises(DataError, match=rf"splits into 3 with data\.delimiter={shown}") as error:
        read(tmp_path, text(delimiter))
    assert read(tmp_path, text(delimiter), delimiter=delimiter).equals(right)
    mend = re.search(r'add ("[^"]+")', str(error.value))[1]  # through a shell and Hydra
    override = OverridesParser.create().parse_override(*shlex.split(mend))
    assert override.key_or_group == "data.delimiter"
    assert read(tmp_path, text(delimiter), delimiter=override.value()).equals(right)
    with pytest.raises(DataError, match=r"splits into 3 with data\.delimiter=','"):
        read(tmp_path, text(), delimiter=delimiter)
    headless = text(delimiter, header=None)
    with pytest.raises(DataError, match="splits into 3"):
        read(tmp_path, headless, header=False)
    with pytest.raises(DataError, match="splits into 3"):
        TableData(path=str(tmp_path / "t.csv"), header=False).setup()


RIGHT = {
    "byte-order mark": ("\ufeff" + text()).encode(),
    "line ends of two characters": text(end="\r\n"),
    "old line ends": text(end="\r"),
    "no line end at the end": text().rstrip("\n"),
    "a delimiter at every end": text(
        rows=[[*row, ""] for row in ROWS], header=("size", "kind", "code", "")
    ),
    "blanks around cells": text(" , "),
    "empty lines": text().replace("\n", "\n\n"),
    "all quoted": text(rows=[[f'"{cell}"' for cell in row] for row in ROWS]),
    "packed by gzip": gzip.compress(text().encode()),
    "a spreadsheet's first line": "sep=,\n" + text(),
}


@pytest.mark.parametrize("case", RIGHT)
def test_read_as_it_stands(case, tmp_path):
    frame = read(tmp_path, RIGHT[case])
    assert list(frame.columns) == ["size", "kind", "code"]
    assert frame.to_numpy().tolist() == ROWS


def test_cells_with_anything_in_them(tmp_path):
    odd = [
        "two\nlines",
        "a,b",
        'say ""hi""',
        "x\r\ny",
        "\u2028",
        "a\x85b",
        "\x0b",
        "'",
        "=1+1",
        "#",
        "ü",
        "\\",
        "  inner  x",
    ]
    content = "v,n\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(odd))
    frame = read(tmp_path, content)
    assert frame["v"].tolist() == [cell.replace('""', '"').strip() for cell in odd]
    assert frame["n"].tolist() == [str(i) for i in range(len(odd))]


def test_one_column(tmp_path):
    """Text with blanks, or a quoted comma, is one column; gaps in it are missing values."""
    assert read(tmp_path, "name\nAnn Lee\nBo Ray\n")["name"].tolist() == ["Ann Lee", "Bo Ray"]
    assert read(tmp_path, 'name\n"a;b"\n"c;d"\n')["name"].tolist() == ["a;b", "c;d"]
    assert read(tmp_path, "v\n1\n\n2\n\n\n")["v"].tolist() == ["1", "", "2"]
    assert read(tmp_path, 'v\n1\n""\n2\n""\n')["v"].tolist() == ["1", "", "2", ""], (
        "a cell that is there"
    )


WRONG = {
    "empty": (b"", {}, "it is empty"),
    "a mark alone": ("\ufeff", {}, "it is empty"),
    "blank lines alone": ("\n\n  \n", {}, "it is empty"),
    "header alone": ("a,b\n", {}, "no rows under its header"),
    "latin-1": ("größe,k\n1,ä\n".encode("latin-1"), {}, r"not UTF-8: byte 0xf6 in line 1; .*iconv"),
    "latin-1 far down": (text().encode() + b"9,\xe4,1\n", {}, "byte 0xe4 in line 42"),
    "UTF-16": (text().encode("utf-16"), {}, "UTF-16 .*iconv"),
    "UTF-16 without a mark": (text().encode("utf-16-le"), {}, "null byte in line 1"),
    "null byte": (text().replace("a", "\0", 1), {}, "null byte in line"),
    "spreadsheet": (zipped(), {}, "spreadsheet or a zip archive"),
    "Parquet": (b"PAR1....", {}, "Parquet"),
    "damaged gzip": (gzip.compress(text().encode())[:-20], {}, "packed, and damaged"),
    "no blank between": ("a b c\n1 x 3\n2 y 4\n", {}, "splits into 3 with data.delimiter=' '"),
    "two header lines": ("a,b\na,b\n1,2\n", {}, "row 1 is the same as the header"),
    "files put together": ("a,b\n1,x\na,b\n2,y\n", {}, "row 2 is the same as the header"),
    "numbers as names": ("1,2\n3,4\n", {}, "data.header=false"),
    "header among data": (
        "age,c\n1,x\n2,y\n3,x\n", {"header": False},
        "'age' above nothing but numbers: .*data.header=true",
    ),
    "duplicate names": ("a,b,a\n1,2,3\n", {}, "'a' occurs more than once"),
    "a nameless column": ("a,,b\n1,2,3\n", {}, "column 2 has no name"),
    "delimiter at the ends of rows alone": (
        "a,b\n1,2,\n3,4,\n", {}, "line 2 has 3 values, the first line 2",
    ),
    "a short row": ("a,b,c\n1,2,3\n4,5\n", {}, "line 3 has fewer values than others, 2 of 3"),
    "a short row behind a cell of two lines": ('a,b\n"1\n2",3\n4\n', {}, "line 4 has fewer values"),
    "an open quote": ('a,b\n1,"x\n2,y\n', {}, "is not closed"),
    "text behind a quote": ('a,b\n"x"y,2\n', {}, "line 2"),
    "decimal commas in a row of semicolons": ("a;b\n1,5;2,5\n3,5;4,5\n", {}, "data.delimiter=';'"),
    "decimal commas, no header": (
        "1,5;2,5\n3,5;4,5\n5,5;6,5\n", {"header": False}, "within its numbers .*';'",
    ),
    "says its delimiter": ("sep=;\na;b\n1;2\n", {}, "says that it has data.delimiter=';'"),
    "two characters": ("a\n1\n", {"delimiter": "::"}, "must be one character"),
    "a quote": ("a\n1\n", {"delimiter": '"'}, "must be one character"),
    "a line end": ("a\n1\n", {"delimiter": "\n"}, "must be one character"),
    "nothing": ("a\n1\n", {"delimiter": ""}, "must be one character"),
    "a cell of megabytes": ("a,b\n" + "x" * 200_000 + ",1\n", {}, "field larger than field limit"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_refused_in_one_line(case, tmp_path):
    content, arguments, message = WRONG[case]
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, content, **arguments)
    assert len(str(error.value).splitlines()) == 1
    assert "t.csv" in str(error.value) or "delimiter" in str(error.value)


def test_a_parquet_file_that_is_none(tmp_path):
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(tmp_path, text(), name="t.parquet")
    twice = TableData(frame=pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))
    with pytest.raises(DataError, match="occurs more than once"):
        twice.setup()


def test_an_index_with_a_name_is_a_column(tmp_path):
    pd.DataFrame({"v": [1.5, 2.5]}, index=pd.Index(["x", "y"], name="who")).to_parquet(
        tmp_path / "t.parquet"
    )
    assert read_table(tmp_path / "t.parquet").columns.tolist() == ["who", "v"]
