"""ordo sample: tables and text from a checkpoint alone, conditional tables, exact
likelihoods, clear errors.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import CONFIGS, NAE, QUIET, SMALL, call, run, text_overrides

from ordo.data import TableCodec
from ordo.data.text.lines import from_line
from ordo.likelihood import order_log_prob
from ordo.runs.checkpoint import read
from ordo.runs.stored import load

STEPS = ["steps=4", "checkpoint_every=2", "validate_every=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny table run; its data are deleted afterwards."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 60, n),
            "city": random.choice(["x", "y, z", "01"], n),
            "gain": np.where(
                random.random(n) < 0.7, "", np.round(random.lognormal(size=n), 2).astype(str)
            ),
            "flag": random.random(n) < 0.5,
        }
    )
    frame.to_csv(folder / "t.csv", index=False)
    parts = [
        "data=table",
        f"data.path={folder / 't.csv'}",
        "data.bins=16",
        "denoiser=table_causal",
        "schedule=power_table",
    ]
    run(folder / "run", *parts, *STEPS, *QUIET)
    (folder / "t.csv").unlink()
    return folder / "run"


@pytest.fixture
def sample(trained, tmp_path, monkeypatch, capfd):
    def of(*arguments, out="s.csv"):
        settings = [f"checkpoint={trained}", f"out={tmp_path / out}", "threads=1", *arguments]
        return (
            *call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd),
            tmp_path / out,
        )

    return of


def codec_of(trained):
    return TableCodec.from_state_dict(read(trained)["TableData"]["codec"])


def tokens_of(codec, frame):
    numbers = {name: float for name, kind in codec.kinds.items() if kind == "numeric"}
    return codec.encode(frame.astype(numbers))


def test_a_table(trained, sample):
    status, _, err, path = sample("n=300", "sampler=mode_order", "log_prob=true", "batch_size=128")
    assert status == 0, err
    frame = pd.read_csv(path, dtype={"city": str, "flag": str})
    assert list(frame.columns) == ["age", "city", "gain", "flag", "log_prob"]
    assert len(frame) == 300
    assert set(frame["city"]) == {"x", "y, z", "01"}
    assert set(frame["flag"]) == {"True", "False"}
    assert frame["age"].between(20, 59).all()
    assert frame["gain"].isna().mean() > 0.02, "missing is a value that is drawn like others"
    module, _ = load(trained)
    tokens = tokens_of(codec_of(trained), frame)
    exact = order_log_prob(module.denoiser, tokens, module.schedule.law().mode())
    assert torch.allclose(exact, torch.tensor(frame["log_prob"].to_numpy()), atol=1e-4), (
        "what was written has the likelihood stated"
    )
    assert (
        sample("n=300", "sampler=mode_order", "log_prob=true", "batch_size=128", out="again.csv")[
            3
        ].read_text()
        == path.read_text()
    )
    assert (
        sample("n=300", "sampler=mode_order", "log_prob=true", "seed=1", out="other.csv")[
            3
        ].read_text()
        != path.read_text()
    )
    parquet = sample("n=7", out="s.parquet")[3]
    assert pd.read_parquet(parquet).shape == (7, 4)


def test_given_and_imputed(sample, tmp_path):
    _, _, err, path = sample("n=50", "+given.age=33", "+given.city='01'", "+given.flag=true")
    frame = pd.read_csv(path, dtype=str)
    assert (frame["age"] == "33").all(), err
    assert (frame["city"] == "01").all()
    holes = tmp_path / "holes.csv"
    holes.write_text("gain,age,city\n1.005,,x\n,44,\n?,,\n")
    filled = pd.read_csv(sample(f"impute={holes}", "log_prob=true", out="filled.csv")[3], dtype=str)
    assert list(filled.columns) == ["age", "city", "gain", "flag", "log_prob"]
    assert filled["gain"][0] == "1.005", "as it stood, not as its bin"
    assert filled["age"][1] == "44"
    assert filled["city"][0] == "x"
    assert filled[["age", "city", "flag"]].notna().all(axis=None)


def test_imputation_is_conditioned_on_its_own_row(trained, sample, tmp_path):
    """The likelihood stated for each row is that of what was drawn given what that row had,
    recomputed from the written file.
    """
    module, _ = load(trained)
    codec = codec_of(trained)
    mode = module.schedule.law().mode()
    random = np.random.default_rng(1)
    cities = random.choice(["x", "y, z", "01", None], 40)
    ages = [None if random.random() < 0.4 else int(random.integers(20, 60)) for _ in range(40)]
    holes = pd.DataFrame(
        {"age": pd.array(ages, dtype="Int64"), "city": cities}, index=random.permutation(40)
    )
    holes.to_parquet(tmp_path / "holes.parquet")  # the index is not the row number
    status, _, err, path = sample(
        f"impute={tmp_path / 'holes.parquet'}",
        "sampler=mode_order",
        "log_prob=true",
        "batch_size=16",
    )
    assert status == 0, err
    filled = pd.read_csv(path, dtype={"city": str, "flag": str})
    tokens = tokens_of(codec, filled)
    for i, (age, city) in enumerate(zip(ages, cities, strict=True)):
        known = torch.tensor([age is not None, city is not None, False, False])
        if age is not None:
            assert filled["age"][i] == age
        if city is not None:
            assert filled["city"][i] == city
        order = mode[known[mode].to(torch.int8).argsort(descending=True, stable=True)]
        by_rank = module.denoiser.order_log_prob(tokens[i : i + 1], order[None])[0]
        assert filled["log_prob"][i] == pytest.approx(
            by_rank[int(known.sum()) :].sum().item(), abs=1e-4
        )


def test_parquet_keeps_types(sample, tmp_path):
    (tmp_path / "h.csv").write_text("age,gain\n30,1.005\n,\n41,\n")
    status, _, err, path = sample(f"impute={tmp_path / 'h.csv'}", out="filled.parquet")
    assert status == 0, err
    frame = pd.read_parquet(path)
    assert str(frame["age"].dtype) == "Int64"
    assert frame["age"].tolist()[::2] == [30, 41]
    assert frame["gain"][0] == 1.005
    path = sample("n=3", "+given.age=33", "+given.flag=True", out="given.parquet")[3]
    assert pd.read_parquet(path)["age"].tolist() == [33] * 3
    assert pd.read_parquet(path)["flag"].tolist() == ["True"] * 3, "a CSV had strings"


def test_text(tmp_path, monkeypatch, capfd):
    run(tmp_path / "run", *NAE, *STEPS, *QUIET)
    settings = [
        f"checkpoint={tmp_path / 'run'}",
        f"out={tmp_path / 's.txt'}",
        "n=5",
        "log_prob=true",
    ]
    status, _, err = call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    lines = (tmp_path / "s.txt").read_text().splitlines()
    assert len(lines) == 5
    assert all(re.fullmatch(r"-\d+\.\d{6}\t[01]{6}", line) for line in lines)


def test_one_text_a_line(tmp_path, monkeypatch, capfd):
    """Whatever ends a line and whatever escapes it, in sample.py and in a report: as many lines as
    texts, each of the model's length.
    """
    letters = "ab\n\r\x0b\x85\u2028\u2029\x1c\\n"
    (tmp_path / "t.txt").write_text(
        "\ufeff" + "".join(np.random.default_rng(0).choice(list(letters), 4000)),
        encoding="utf-8",
        newline="",
    )
    parts = ["data=file", f"data.path={tmp_path / 't.txt'}", "data.length=8", "data.limit_eval=16"]
    small = [setting for setting in QUIET if setting != "report=null"]
    settings = [
        "experiment=custom",
        *parts,
        *SMALL,
        *STEPS,
        *small,
        f"output={tmp_path / 'run'}",
        "report.samples=30",
        "report.draws=1",
    ]
    settings += [
        "report.page=false",
        "report.sequences=4",
        "report.importance_draws=2",
        "report.orders=null",
    ]
    status, _, err = call("train.py", *settings, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    arguments = [f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 's.txt'}", "n=30"]
    status, _, err = call("ordo sample", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    assert set(read(tmp_path / "run")["TextData"]["vocabulary"]) == set(letters), (
        "the mark is no symbol"
    )
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    for path in (tmp_path / "s.txt", tmp_path / "run" / "drawn.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 30
        assert all(len(from_line(line)) == 8 for line in lines)
    assert [from_line(line) for line in lines[: len(report["samples"])]] == report["samples"]


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    run(folder / "run", *text_overrides(folder), *STEPS)
    profile = [2.5, 2.4, 1.2, 1.1, 1.0, 1.0, 0.9, 0.9]
    (folder / "run" / "report.json").write_text(
        json.dumps({"loss_by_revealed": {"own": {"nats": profile}}})
    )
    return folder / "run"


def test_infilling_and_trace(text_run, tmp_path, monkeypatch, capfd):
    out, trace = tmp_path / "s.txt", tmp_path / "s.npz"

    def call_with(*settings):
        shared = [f"checkpoint={text_run}", f"out={out}", f"trace={trace}", "n=6"]
        return call("ordo sample", *shared, *settings, monkeypatch=monkeypatch, capfd=capfd)

    status, _, err = call_with("template='th_ f_x'", "sampler=top_k", "sampler.how_many.calls=3")
    assert status == 0, err
    assert "3.0 calls each" in err
    lines = out.read_text().splitlines()
    assert all(re.fullmatch(r"th. f.x.", line) for line in lines)
    with np.load(trace) as saved:
        assert saved["rank"].shape == (6, 8)
        assert ((saved["rank"] == -1).sum(1) == 5).all()
        assert (saved["calls"] == 3).all()
        assert np.isfinite(saved["log_prob"]).all()
    status, _, err = call_with("sampler=best_steps", "sampler.how_many.calls=4")
    assert status == 0, err
    assert "4.0 calls each" in err
    for settings, told in (
        (["template='The'"], "template"),
        (["template=a", "blank=a"], "is a character of the model's vocabulary"),
        ([f"template='{'a' * 9}'"], "9 characters, the model 8"),
        (["sampler=remdm", "log_prob=true"], "has no likelihood"),
        (["sampler=path_planning"], "planner"),
    ):
        status, _, err = call_with(*settings)
        assert status in (1, 2)
        assert told in err.strip().splitlines()[-1]


def test_warning_off_the_law(tmp_path, monkeypatch, capfd):
    run(tmp_path / "run", *text_overrides(tmp_path), *STEPS, "schedule=left_to_right")
    for sampler, warned in (
        (["sampler=given_order", "sampler.where.order=right_to_left"], True),
        (["sampler=given_order"], False),
        (["sampler=mode_order"], False),
    ):
        settings = [
            f"checkpoint={tmp_path / 'run'}",
            f"out={tmp_path / 's.txt'}",
            "n=3",
            *sampler,
        ]
        status, _, err = call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd)
        assert status == 0
        assert ("expect poor samples" in err) == warned


CHOICES = sorted(path.stem for path in (Path(CONFIGS) / "sampler").glob("*.yaml"))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_sampler_decodes(choice, text_run, tmp_path, monkeypatch, capfd):
    out = tmp_path / "s.txt"
    status, _, err = call(
        "ordo sample",
        f"checkpoint={text_run}",
        f"out={out}",
        "n=3",
        f"sampler={choice}",
        *(["sampler.how_many.calls=5"] if choice in ("best_steps", "by_steps") else []),
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    if choice == "path_planning":
        assert status in (1, 2)
        assert "planner" in err
    else:
        assert status == 0, err
        assert [len(line) for line in out.read_text().splitlines()] == [8] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+given.ages=3"], "given.ages: no such column; the model has age, city, gain, flag"),
        (["+given.city=q"], "'city' has the value 'q'"),
        (["+given.age=1e9"], "given.age=1e+09 lies outside of what was seen, 20 to 59"),
        (["+given.age.x=3"], "which is no value"),
        (["'+given={9: 3}'".strip("'")], "the number 9, which is no column of the model"),
        (["given=gone.yaml"], "given=gone.yaml: no such file"),
        (["delimiter=';'"], "is of the file that impute names"),
        (["+given.age=old"], "'age' is to be numeric, but holds 'old'"),
        (["trace=x.csv"], "choose a name in .npz"),
        (["template=a_"], "template is for text"),
        (
            ["sampler.how_many.calls=0", "sampler=top_k"],
            "sampler.how_many.calls=0: must be a whole number from 1",
        ),
        (["n=0"], "n=0: must be a whole number from 1"),
        (["out=x.xls"], "choose a name in .csv"),
        (["out=x.txt"], "the model is of a table"),
        (["impute=gone.csv"], "no such file: gone.csv"),
        (["device=tpu"], "device=tpu"),
        (["checkpoint=gone"], "no checkpoint at gone"),
    ],
)
def test_errors(sample, arguments, message, tmp_path):
    status, _, err, path = sample(*arguments)
    assert status in (1, 2)
    assert len(err.strip().splitlines()) == 1, err
    assert message in err
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert not path.exists()


def test_columns_that_the_model_does_not_know(sample, tmp_path):
    """Kept in their places, and said; also under another delimiter; and what is written is read
    again.
    """
    (tmp_path / "h.csv").write_text("id;age;note;city\n7;33;a,b;x\n8;200;;\n", encoding="utf-8-sig")
    status, _, err, path = sample(f"impute={tmp_path / 'h.csv'}", "log_prob=true")
    assert status == 0, err
    assert "kept as they are: id, note" in err
    assert "read with delimiter=';'" in err
    assert "1 value of 'age', such as 200, outside of what was seen, 20 to 59" in err
    assert "drawn for every row: gain, flag" in err
    frame = pd.read_csv(path, sep=";", dtype=str, keep_default_na=False)
    assert list(frame.columns) == ["id", "age", "note", "city", "gain", "flag", "log_prob"]
    assert frame[["id", "age", "note"]].to_numpy().tolist() == [
        ["7", "33", "a,b"],
        ["8", "200", ""],
    ]
    status, _, err, again = sample(f"impute={path}", out="again.parquet")
    assert status == 0, err
    assert list(pd.read_parquet(again).columns) == list(frame.columns)
    assert pd.read_parquet(again)["age"].tolist() == [33, 200]
    assert (
        "column of that name already" in sample(f"impute={path}", "log_prob=true", out="no.csv")[2]
    )
    assert sample(f"impute={tmp_path / 'h.csv'}", "quiet=true")[2].count("\n") == 1


def test_a_missing_value_is_a_condition(sample, trained, tmp_path):
    """All rows have none, and the likelihood stated is that given this; where training had a value
    everywhere it is refused.
    """
    for given in ("+given.gain=NA", "+given.gain=null", "'+given={3: NA}'".strip("'")):
        status, _, err, path = sample("n=20", given, "sampler=mode_order", "log_prob=true")
        assert status == 0, err
        frame = pd.read_csv(path, dtype={"city": str, "flag": str})
        assert frame["gain"].isna().all()
    module, _ = load(trained)
    tokens, mode = tokens_of(codec_of(trained), frame), module.schedule.law().mode()
    order = torch.cat([torch.tensor([2]), mode[mode != 2]])
    by_rank = module.denoiser.order_log_prob(tokens, order.expand(20, -1))
    assert torch.allclose(
        by_rank[:, 1:].sum(1), torch.tensor(frame["log_prob"].to_numpy()).to(by_rank), atol=1e-4
    )
    status, _, err, path = sample("n=20", "+given.city=NA", out="no.csv")
    assert status == 2
    assert err.startswith(
        "error: given.city=NA means a missing value, but the column had none in training"
    )
    assert not path.exists()
    (tmp_path / "g.yaml").write_text("gain: NA\nage: 33\n")
    frame = pd.read_csv(sample("n=5", f"given={tmp_path / 'g.yaml'}")[3])
    assert frame["gain"].isna().all()
    assert (frame["age"] == 33).all()


def test_imputing_another_number_of_rows(sample, tmp_path):
    (tmp_path / "h.csv").write_text("age\n3\n")
    assert "n=4, but" in sample(f"impute={tmp_path / 'h.csv'}", "n=4")[2]
    assert "either given or impute" in sample(f"impute={tmp_path / 'h.csv'}", "+given.age=3")[2]


@pytest.mark.parametrize(
    "setting", ["given=3", "given=[1]", "given=''", "given=true", "tokenizer=x"]
)
def test_settings_that_mean_nothing_to_a_table(setting, sample):
    status, _, err, out = sample(setting)
    assert (status, len(err.splitlines())) == (2, 1), err
    assert setting.partition("=")[0] in err
    assert not out.exists()


def test_the_file_that_is_imputed_is_not_written_over(sample, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("age\n30\n")
    status, _, err, out = sample(f"impute={tmp_path / '.' / 's.csv'}")
    assert status == 2
    assert "is the file that impute names" in err
    assert out.read_text() == "age\n30\n"
