"""The folder of a stranger's run: nothing is executed, nothing hangs, what is wrong is one line."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ordo.data.errors import DataError
from ordo.data.tables.column_names import mapping_file
from ordo.errors import FileError
from ordo.files import read_json, read_yaml
from ordo.report.numbers import LABELS
from ordo.report.record import read_metrics, read_record

ESTIMATE = {
    "nats": 1.0,
    "standard_error": 0.1,
    "length": 2.0,
    "bits_per_token": 1.0,
    "bits_per_token_standard_error": 0.1,
}
CURVE = {"nats": [1.0, None], "standard_error": [0.1, None]}
REPORT = {
    "unit": "char",
    "entropy": None,
    "estimates": dict.fromkeys(LABELS, ESTIMATE),
    "loss_by_revealed": {"own": CURVE},
}
# Ten lines that make 10**11 values.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


class Touches:
    def __reduce__(self):
        return Path.touch, (Path("EXECUTED"),)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1", "- 1", "", "a: 2020-99-99", "a: 2020-01-01", "a: !!binary aGk=", "? [1]\n: 2",
        "a: " + "9" * 5000, BOMB, "a: &a\n  b: *a",
        "a: !!python/object/apply:pathlib.Path.touch [EXECUTED]", "a: " + "[" * 3000 + "]" * 3000,
    ],
)  # fmt: skip
def test_yaml_that_is_no_configuration(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(text)
    with pytest.raises(FileError, match=r"^config\.yaml ") as caught:
        read_yaml(Path("config.yaml"))
    assert len(str(caught.value).splitlines()) == 1
    assert not Path("EXECUTED").exists()


def test_what_stands_in_yaml_is_text(tmp_path):
    (tmp_path / "config.yaml").write_text("name: ${oc.env:HOME}\n")
    assert read_yaml(tmp_path / "config.yaml") == {"name": "${oc.env:HOME}"}


@pytest.mark.parametrize("text", [BOMB, "? [a]\n: b", "? {a: b}\n: c"])
def test_yaml_that_names_no_columns(text, tmp_path):
    (tmp_path / "types.yaml").write_text(text)
    with pytest.raises(DataError, match=r"types\.yaml"):
        mapping_file(tmp_path / "types.yaml", "data.types")


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, '{"x":' + "9" * 5000 + "}"])
def test_json_that_is_no_report(text, tmp_path):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(FileError, match=r"report\.json"):
        read_json(tmp_path / "report.json")


CHANGES = {
    "estimates": [None, {}, {"own_nelbo": 1}, dict.fromkeys(LABELS, ESTIMATE | {"nats": "x"})],
    "unit": [None, [1]],
    "loss_by_revealed": [None, {"own": CURVE | {"nats": ["x"]}}],
    "labels": [3, [3]],
    "precedence": [[[1]]],
    "samples": [3],
    "parameters": ["x"],
    "scored": [[1]],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in CHANGES.items() for value in values]
)
def test_reports_of_another_form(key, value, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert read_record(tmp_path).report == REPORT
    (tmp_path / "report.json").write_text(json.dumps(REPORT | {key: value}))
    with pytest.raises(FileError, match=f"report.json .* {key}|report.json .* it lacks") as caught:
        read_record(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_arrays_of_another_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("report.json").write_text(json.dumps(REPORT))
    path = Path("report_values.npz")
    np.savez(path, own_nelbo=np.array([Touches()], dtype=object))
    strange = [path.read_bytes(), b"x", b"PK"]
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("own_nelbo.npy", header)
    for content in (path.read_bytes(), *strange):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"report_values\.npz holds no arrays") as caught:
            read_record(tmp_path)
        assert "allow_pickle" not in str(caught.value)
    assert not Path("EXECUTED").exists()


@pytest.mark.parametrize(
    "content", [b"x\n1\n", b"step\nx\n", b"\xff\xfe\x00\x00", b"step,a\n1,2,3\n1\n1,2,3,4\n"]
)
def test_metrics_of_another_form(content, tmp_path):
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "metrics.csv").write_bytes(content)
    with pytest.raises(FileError, match=r"metrics\.csv"):
        read_metrics(tmp_path)
