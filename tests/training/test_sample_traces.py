"""ordo sample trace=: pages and films say the same as the samples file, for all data."""

import json
import os
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_runs import QUIET, call, run, text_overrides
from tiny_tokenizer import tiny_tokenizer

from ordo.saved import open_model

STEPS = ["steps=2", "checkpoint_every=2", "validate_every=2"]


@pytest.fixture
def sample(tmp_path, monkeypatch, capfd):
    """Settings -> what the page's script reads, the samples file, standard error."""

    def of(*settings, out="s.txt", trace="t.html"):
        paths = [f"out={tmp_path / out}", f"trace={tmp_path / trace}", "threads=1"]
        status, _, err = call(
            "ordo sample", *paths, *settings, monkeypatch=monkeypatch, capfd=capfd
        )
        assert status == 0, err
        found = re.search(
            r'<script type="application/json" class="data">(.*?)</script>',
            (tmp_path / trace).read_text("utf-8"),
            re.DOTALL,
        )
        assert found is not None
        return json.loads(found[1]), (tmp_path / out).read_text(encoding="utf-8"), err

    return of


def final(data, number):
    """The strings of a row in the end, given ones included."""
    row = data["rows"][number]
    shown = list(row["given"])
    for position, symbol in zip(row["position"], row["symbol"], strict=True):
        shown[position] = symbol
    assert min(shown) >= 0
    return [data["symbols"][symbol] for symbol in shown]


def test_text(tmp_path, sample):
    run(tmp_path / "run", *text_overrides(tmp_path), *STEPS)
    for sampler in (
        ["sampler=remdm", "sampler.revise.eta=0.5"],
        ["sampler=top_k", "sampler.where.score=margin", "sampler.how_many.calls=3", "batch_size=4"],
    ):
        data, text, err = sample(
            f"checkpoint={tmp_path / 'run'}", "n=11", "template='th_ f_x'", "seed=4", *sampler
        )
        assert data["kind"] == "text"
        lines = text.splitlines()
        assert ["".join(final(data, i)) for i in range(len(data["rows"]))] == lines[:8]
        assert "t.html shows the first 8 sequences of 11" in err
        page = (tmp_path / "t.html").read_text(encoding="utf-8")
        assert f"<b>{sampler[0].removeprefix('sampler=')}</b>" in page
        assert "seed <b>4</b>" in page
        assert "the first 8 of 11" in page
        assert all(row["given"][0] >= 0 and row["given"][2] < 0 for row in data["rows"])
    data, _, err = sample(f"checkpoint={tmp_path / 'run'}", "n=2")
    assert len(data["rows"]) == 2
    assert "shows the first" not in err


def test_a_film(tmp_path, monkeypatch, capfd):
    run(tmp_path / "run", *text_overrides(tmp_path), *STEPS)
    before = set(os.listdir(tmp_path))
    settings = [
        f"checkpoint={tmp_path / 'run'}",
        f"out={tmp_path / 's.txt'}",
        f"trace={tmp_path / 't.gif'}",
        "n=3",
        "threads=1",
    ]
    status, _, err = call(
        "ordo sample", *settings, "sampler=remdm", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status == 0, err
    assert "t.gif shows the first sequence of 3" in err
    with Image.open(tmp_path / "t.gif") as film:
        assert film.n_frames > 4  # type: ignore[attr-defined]
    assert set(os.listdir(tmp_path)) == before | {"s.txt", "t.gif"}


def test_table(tmp_path, sample):
    random = np.random.default_rng(0)
    n = 200
    age = pd.array(random.integers(20, 60, n), dtype="Int64")
    age[random.random(n) < 0.3] = pd.NA
    frame = pd.DataFrame(
        {
            "age": age,
            "a <city>": random.choice(["x", "y, z", "</script>"], n),
            "gain": random.normal(size=n).round(2),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    parts = [
        "data=table",
        f"data.path={tmp_path / 't.csv'}",
        "data.bins=8",
        "denoiser=table_causal",
        "schedule=power_table",
    ]
    run(tmp_path / "run", *parts, *STEPS, *QUIET)
    for settings in (
        ["n=20"],
        ["n=20", "+given.gain=0.1234"],
        ["n=20", "sampler=remdm", "sampler.revise.eta=0.5", "log_prob=false"],
    ):
        data, _, _ = sample(f"checkpoint={tmp_path / 'run'}", *settings, out="s.csv")
        written = pd.read_csv(tmp_path / "s.csv", dtype=str, keep_default_na=False)
        assert data["names"] == list(written.columns) == list(frame.columns)
        assert [final(data, i) for i in range(8)] == written.head(8).to_numpy().tolist()
    meaning = open_model(tmp_path / "run").decoding
    columns = meaning._codec.columns
    for position, column in enumerate(columns):
        for token in range(column.vocab_size):
            (cell,) = column.decode(np.array([token]), random)
            name = meaning.symbol(position, token)
            if pd.isna(cell):
                assert name == ""
            elif column.kind == "categorical":
                assert name == str(cell)
            else:
                low, high = (
                    float(x) for x in (name.split(" to ") if " to " in name else (name, name))
                )
                assert low <= cell <= high, "the range of the bin"


def test_sudoku(tmp_path, sample):
    run(tmp_path / "run", "data.bank=8", "data.eval_size=4", *STEPS, experiment="sudoku_4x4")
    data, text, _ = sample(f"checkpoint={tmp_path / 'run'}", "n=3", "template='1___3____2____4_'")
    assert (data["kind"], data["columns"], data["box"]) == ("board", 4, 2)
    assert ["".join(final(data, i)) for i in range(3)] == text.splitlines()


def test_documents(tmp_path, sample):
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"text": "the fox {"very " * (i % 5)} {i}"}}\n' for i in range(100))
    )
    tiny_tokenizer(tmp_path / "tokenizer")
    plan = [
        "data=corpus",
        f"data.source={tmp_path / 'a.jsonl'}",
        f"data.tokenizer={tmp_path / 'tokenizer'}",
    ]
    plan += [
        f"data.cache_dir={tmp_path / 'cache'}",
        "data.length=12",
        "data.layout=documents",
        *STEPS,
        *QUIET,
    ]
    plan += [
        "data.splits={train: 'train[:80%]', validation: 'train[80%:90%]', test: 'train[90%:]'}"
    ]
    run(tmp_path / "run", *plan)
    data, _, _ = sample(
        f"checkpoint={tmp_path / 'run'}", f"tokenizer={tmp_path / 'tokenizer'}", "n=6", "length=7"
    )
    assert [len(row["given"]) for row in data["rows"]] == [7] * 6, "absent positions are not shown"
    decoding = open_model(tmp_path / "run", tokenizer=str(tmp_path / "tokenizer")).decoding
    ids = decoding.tokenizer("the fox very", add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[*ids, *[len(decoding.tokenizer)] * (12 - len(ids))]])
    (symbols,) = decoding.symbols(tokens)
    assert len(symbols) == len(ids)
    assert "".join(symbols) == "the fox very"
