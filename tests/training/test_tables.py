"""A stranger's CSV through train.py and eval.py: what is written, and what is said when the table
is another one or unfit.
"""

import json
import re

import pytest
from tiny_runs import QUIET, call, last, run

STEPS = ["steps=4", "checkpoint_every=2", "validate_every=2"]
PARTS = ["denoiser=table_causal", "schedule=power_table"]


def table(path, n=90, shift=0):
    lines = [
        f"{(7 * i + shift) % 31 / 2},{('red', 'green', 'blue')[i % 3]},{i % 4}" for i in range(n)
    ]
    path.write_text("size,colour,code\n" + "\n".join(lines) + "\n")
    return [*PARTS, "data=table", f"data.path={path}", "data.target=colour"]


@pytest.fixture
def script(monkeypatch, capfd):
    return lambda name, *arguments: call(name, *arguments, monkeypatch=monkeypatch, capfd=capfd)


@pytest.mark.parametrize("denoiser", ["table_causal", "table"])
def test_train_and_evaluate(denoiser, tmp_path, script):
    parts = [
        *table(tmp_path / "t.csv"),
        f"denoiser={denoiser}",
        *(["objective=order"] if denoiser == "table" else []),
    ]
    sizes = ["denoiser.width=16", "denoiser.heads=2", "denoiser.layers=1", "data.batch_size=16"]
    quiet = [value for value in QUIET if value != "report=null"]
    settings = [
        "experiment=table_learned_order",
        *parts,
        *sizes,
        *quiet,
        *STEPS,
        f"output={tmp_path / 'run'}",
    ]
    status, out, err = script("train.py", *settings, "optimizer.schedule_delay=1", "report.draws=2")
    assert status == 0, err
    assert "nats per row" in out
    described = json.loads((tmp_path / "run" / "provenance.json").read_text())["data"]
    assert described["columns"]["colour"] == {"kind": "categorical", "tokens": 3, "missing": False}
    assert described["target"] == "colour"
    where = [f"checkpoint={tmp_path / 'run'}", f"data.path={tmp_path / 't.csv'}"]
    status, out, err = script("eval.py", *where, "draws=2", "samples=2", "threads=1")
    assert status == 0, err
    assert len(re.findall(r"size=[\d.]+, colour=(red|green|blue), code=\d", out)) == 2
    report = json.loads(
        (tmp_path / "run" / "checkpoints" / "eval_test" / "report.json").read_text()
    )
    assert report["unit"] == "column"


def test_another_table_is_not_resumed_or_evaluated(tmp_path, script):
    run(tmp_path / "run", *table(tmp_path / "t.csv"), *STEPS)
    codec = last(tmp_path / "run")["TableData"]["codec"]
    assert [column["name"] for column in codec["columns"]] == ["size", "colour", "code"]
    table(tmp_path / "t.csv", shift=1)
    evaluated = [
        f"checkpoint={tmp_path / 'run'}",
        f"data.path={tmp_path / 't.csv'}",
        "draws=1",
        "threads=1",
    ]
    status, _, err = script("eval.py", *evaluated)
    assert status == 0, "the same values: the codec is the same"
    table(tmp_path / "t.csv", n=25)
    for name, arguments in (("eval.py", evaluated), ("train.py", resume_arguments(tmp_path))):
        status, _, err = script(name, *arguments)
        assert status in (1, 2)
        assert len(err.strip().splitlines()) == 1, err
        assert re.search(
            r"column 'size' is coded otherwise in the checkpoint: the table, its split or data\.b",
            err,
        ), err


def resume_arguments(tmp_path):
    small = [
        "denoiser.width=16",
        "denoiser.heads=2",
        "denoiser.layers=1",
        "data.batch_size=8",
        "data.eval_batch_size=8",
    ]
    parts = [
        *table(tmp_path / "t.csv", n=25),
        *small,
        *QUIET,
        "steps=6",
        "checkpoint_every=2",
        "validate_every=2",
    ]
    return [
        "experiment=custom",
        *parts,
        f"output={tmp_path / 'again'}",
        f"resume={tmp_path / 'run'}",
    ]


def test_unfit_tables_are_one_line(tmp_path, script):
    for content, message in [
        ("", "cannot be read as CSV"),
        ("a,b\n1,inf\n2,3\n", "'b' is infinite"),
        ("a\n1\n", "cannot be split"),
    ]:
        (tmp_path / "t.csv").write_text(content)
        parts = [
            "experiment=table_learned_order",
            f"data.path={tmp_path / 't.csv'}",
            *QUIET,
            f"output={tmp_path / 'run'}",
        ]
        status, _, err = script("train.py", *parts)
        assert status in (1, 2)
        assert len(err.strip().splitlines()) == 1, err
        assert message in err
        assert not (tmp_path / "run").exists()
    table(tmp_path / "t.csv")
    parts = [
        "experiment=custom",
        "data=table",
        f"data.path={tmp_path / 't.csv'}",
        *QUIET,
        f"output={tmp_path / 'run'}",
    ]
    status, _, err = script("train.py", *parts)
    assert status in (1, 2)
    assert "use denoiser=table_causal" in err
    status, _, err = script(
        "train.py",
        *parts,
        "denoiser=table_causal",
        "'+data.types={size: drop, colour: drop}'".strip("'"),
        *STEPS,
    )
    assert status == 0, f"the hint that errors give can be followed: {err}"
    status, _, err = script(
        "train.py", "experiment=table_learned_order", *QUIET, f"output={tmp_path / 'other'}"
    )
    assert status in (1, 2)
    assert "which table? data.path=FILE.csv" in err


@pytest.mark.slow  # half a minute
def test_report_of_the_best_weights(tmp_path, script):
    """Where training learns rows by heart, the report of ``weights=best`` is that of best.ckpt, not
    of the last step.
    """
    parts = [
        *table(tmp_path / "t.csv", n=40),
        "denoiser.width=32",
        "data.batch_size=32",
        "optimizer.lr=1e-2",
    ]
    parts += [value for value in QUIET if value != "report=null"]
    settings = [
        "experiment=custom",
        *parts,
        "steps=120",
        "validate_every=10",
        "optimizer.warmup_steps=5",
        "report.draws=4",
    ]
    results = {}
    for weights in ("last", "best"):
        status, _, err = script(
            "train.py", *settings, f"report.weights={weights}", f"output={tmp_path / weights}"
        )
        assert status == 0, err
        results[weights] = json.loads((tmp_path / weights / "report.json").read_text())["estimates"]
    assert results["best"]["own_nelbo"]["nats"] < results["last"]["own_nelbo"]["nats"] - 0.1
    checkpoint = tmp_path / "best" / "checkpoints" / "best.ckpt"
    path = f"data.path={tmp_path / 't.csv'}"
    status, _, err = script(
        "eval.py",
        f"checkpoint={checkpoint}",
        path,
        "split=val",
        "draws=4",
        "threads=1",
        "samples=0",
    )
    assert status == 0, err
    again = json.loads(
        (tmp_path / "best" / "checkpoints" / "eval_val" / "report.json").read_text()
    )["estimates"]
    assert again == results["best"]
    for change, message in (
        ("report.weights=first", "must be last or best"),
        ("callbacks.best=null", "needs callbacks.best"),
    ):
        status, _, err = script(
            "train.py", *settings, "report.weights=best", change, f"output={tmp_path / 'no'}"
        )
        assert status in (1, 2)
        assert message in err
