"""ordo export of a table: what it says of training rows, bin edges alone, modes of files."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from tiny_runs import QUIET, call, run

from ordo.saved import OrderedModel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    random = np.random.default_rng(0)
    pay, city, h = (
        random.integers(10_000, 99_000, 400),
        random.choice(["x", "y"], 400),
        random.normal(size=400),
    )
    frame = pd.DataFrame({"pay": pay, "city": city, "h": h})
    frame.to_csv(folder / "t.csv", index=False)
    parts = [
        "data=table",
        f"data.path={folder / 't.csv'}",
        "data.bins=16",
        "denoiser=table_causal",
        "schedule=power_table",
    ]
    run(folder / "run", *parts, "steps=2", "checkpoint_every=2", "validate_every=2", *QUIET)
    return folder / "run", frame


def numbers_in(node):
    """Every number of a JSON document."""
    if isinstance(node, dict):
        return {n for value in node.values() for n in numbers_in(value)}
    if isinstance(node, list):
        return {n for value in node for n in numbers_in(value)}
    return {node} if isinstance(node, int | float) and not isinstance(node, bool) else set()


@pytest.mark.parametrize("values", ["rows", "edges"])
def test_what_is_told_and_kept(values, trained, tmp_path, monkeypatch, capfd):
    checkpoint, frame = trained
    mask = os.umask(0o022)
    try:
        arguments = [
            f"checkpoint={checkpoint}",
            f"out={tmp_path / 'm'}",
            *([] if values == "rows" else [f"values={values}"]),
        ]
        status, _, err = call("ordo export", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    finally:
        os.umask(mask)
    assert status == 0, err
    card = (tmp_path / "m" / "README.md").read_text()
    told = next(line for line in err.splitlines() if line.startswith("config.json holds"))
    assert told in card
    assert ("values of training rows" in told) == (values == "rows")
    assert ("bin edges" in told) == (values == "edges")
    for path in (tmp_path / "m").iterdir():
        assert oct(path.stat().st_mode & 0o777) == "0o644", path
    assert oct((tmp_path / "m").stat().st_mode & 0o777) == "0o755"
    kept = numbers_in(json.loads((tmp_path / "m" / "config.json").read_text()))
    shares = [len(set(frame[name].tolist()) & kept) / 400 for name in ("pay", "h")]
    assert (min(shares) > 0.6) if values == "rows" else (max(shares) < 0.02), shares
    model = OrderedModel.from_pretrained(tmp_path / "m")
    asked = [f"checkpoint={tmp_path / 'm'}", f"out={tmp_path / 's.csv'}", "n=50", "threads=1"]
    asked += ["+given.pay=50000"]
    status, _, err = call("ordo sample", *asked, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    drawn = pd.read_csv(tmp_path / "s.csv")
    assert (drawn["pay"] == 50_000).all()
    assert (drawn["h"].isin(frame["h"]).all()) == (values == "rows")
    assert model.decoding.table is not None


def test_files_of_a_run_can_be_read_by_others(trained):
    checkpoint, _ = trained
    for path in checkpoint.rglob("*"):
        mode = path.stat().st_mode
        assert mode & 0o444 == 0o444, path


def test_another_choice(trained, tmp_path, monkeypatch, capfd):
    status, _, err = call(
        "ordo export",
        f"checkpoint={trained[0]}",
        f"out={tmp_path / 'm'}",
        "values=none",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert (status, err) == (2, "error: values=none: must be rows or edges\n")
    assert not list(tmp_path.iterdir())
