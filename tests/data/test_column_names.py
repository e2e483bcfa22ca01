"""Columns with the names that real tables have: the printed mend, numbers and files all work."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from ordo.data import DataError, TableData
from ordo.data.tables.column_names import by_column, mapping_file, quoted, setting
from ordo.runs.build import build

CONFIGS = str(Path(__file__).resolve().parents[2] / "src" / "ordo" / "configs")
NAMES = [
    "x[0]", "a=b", "Price ($)", "größe", "O'Brien", "p,q", "t:s", "true", "a b", 'say "hi"',
    "x.y", "{z}", "${x}", "back\\slash", "\\${y}", "null", "nan", "50%", "#1", "~t", "*", "a/b",
    "@home", "+plus", "-minus", "年齢", "é\u0301", "<td>", "a;b", "a|b", "&amp", "!not",
    "line\nend", "tab\there", "3rd", "no", "~", "1e5x", "${oc.env:HOME}", "plain", "_x1", "TRUE",
    "🙂", "=", "'", "yes", "x y: z",
]  # fmt: skip


def frame_with(name, n=1200):
    """A table of n rows and three columns; the second is called ``name`` and is an identifier."""
    return pd.DataFrame(
        {
            "first": ["a", "b"] * (n // 2),
            name: [f"id{i}" for i in range(n)],
            "last": ["c", "d", "e"] * (n // 3),
        }
    )


def composed(path, *overrides):
    """The table of a file and overrides of the command line, through Hydra."""
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        config = compose(overrides=["+seed=0", "+data=table", f"data.path={path}", *overrides])
    return build(config.data, "data")


@pytest.mark.parametrize("name", NAMES)
def test_the_mend_that_is_printed_works(name, tmp_path):
    """From the error message through a shell's and Hydra's parser to a table without the column."""
    frame_with(name).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="1200 different values") as error:
        TableData(path=str(tmp_path / "t.parquet")).setup()
    assert len(str(error.value).splitlines()) == 1
    mend = re.search(r"drop it: (.*)$", str(error.value))[1]
    (argument,) = shlex.split(mend)
    assert OverridesParser.create().parse_override(argument).is_add()
    data = composed(tmp_path / "t.parquet", argument)
    data.setup()
    assert data.codec.names == ["first", "last"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_takes_every_name(name, tmp_path):
    types = tmp_path / "types.yaml"
    types.write_text(f"{quoted(name)}: drop\nfirst: categorical\n", encoding="utf-8")
    data = TableData(frame=frame_with(name, 60), types=str(types))
    data.setup()
    assert data.codec.names == ["first", "last"]


def test_names_that_are_numbers():
    """A number on a command line is refused where it may be a name or a place; a file has names."""
    assert by_column({2: "drop"}, ["a", "b"], "types", "t") == {"b": "drop"}
    assert by_column({3: "drop"}, ["1", "2", "3"], "types", "t") == {"3": "drop"}, (
        "both mean the same column"
    )
    with pytest.raises(DataError, match="may be the column of that name or that of that number"):
        by_column({2: "drop"}, ["2", "x y"], "types", "t")
    assert setting("x y", "drop", ["2", "x y"]) == 'data.types=FILE.yaml, with the line "x y": drop'
    for key in (True, None, 1.5, 0, 4, -1):
        with pytest.raises(DataError, match="types"):
            by_column({key: "drop"}, ["a", "b", "c"], "types", "t")
    with pytest.raises(DataError, match="twice"):
        by_column({"a": "drop", 1: "numeric"}, ["a", "b"], "types", "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "must have a line"),
        ("a: {b: c}\n", "must have a line"),
        ("a: drop\na: numeric\n", "stands there twice"),
        ("a: [drop\n", "is no YAML file"),
        ("a: !!python/object/apply:os.mkdir [x]\n", "must have a line"),
        ("just words\n", "must have a line"),
        (b"\xff\xfe\x00", "is no YAML file"),
        ("z: drop\n", "'z', which is no column"),
        ("a: dropp\n", "choose numeric, categorical, drop"),
    ],
)
def test_unfit_files(text, message, tmp_path):
    path = tmp_path / "types.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as error:
        TableData(frame=pd.DataFrame({"a": range(40), "b": range(40)}), types=str(path)).setup()
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "x").exists()
    assert not Path("x").exists()


def test_a_file_is_text(tmp_path):
    """Nothing in it is a date, a flag or an octal number."""
    path = tmp_path / "given.yaml"
    path.write_text(
        "\ufeffzip: 01234\nno: yes\nday: 2020-01-01\nempty:\n'${x}': '${y}'\n", encoding="utf-8"
    )
    found = mapping_file(path, "given")
    assert found == {"zip": "01234", "no": "yes", "day": "2020-01-01", "empty": "", "${x}": "${y}"}
    with pytest.raises(DataError, match="no such file"):
        mapping_file(tmp_path / "gone.yaml", "given")


def test_the_target_by_number():
    frame = pd.DataFrame({"${t}": ["a", "b"] * 30, "v": range(60)})
    data = TableData(frame=frame, target=1)
    data.setup()
    assert data.target == "${t}"
    with pytest.raises(DataError, match="which is no column"):
        TableData(frame=frame, target=3).setup()
