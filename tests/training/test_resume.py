"""A run that was killed and resumed ends with the same bits as one that was not."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
import torch
from tiny_runs import NAE, ROOT, last, run, run_and_kill, text_overrides

from ordo.files import finite
from ordo.runs.checkpoint import WholeFiles

PLAN = [
    "steps=23",
    "checkpoint_every=5",
    "validate_every=9",
    "optimizer.schedule_delay=3",
    "callbacks.order.every=2",
]
EPOCHS = [*NAE, "data.batches_per_epoch=7"]
MEANT = (
    "global_step",
    "epoch",
    "state_dict",
    "current_model_state",
    "averaging_state",
    "optimizer_states",
    "lr_schedulers",
)


def same(a, b, where):
    """Bit for bit, through nested containers."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
        assert a.dtype == b.dtype, where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def same_training(a, b):
    """Weights, averages, optimiser, objective statistics (in state_dict), order history, place in
    the data.
    """
    for key in MEANT:
        assert (key in a) == (key in b)
        if key in a:
            same(a[key], b[key], key)
    same(a["callbacks"]["OrderHistory"], b["callbacks"]["OrderHistory"], "OrderHistory")
    places = [
        c["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["_index_sampler_state"]
        for c in (a, b)
    ]
    same(*places, "place in the data")


VARIANTS = {
    "task": [*EPOCHS, "objective.draws=2", "objective.baseline=rloo"],
    # An epoch's last step has one batch, and the checkpoint at step 15 is followed by a step that
    # has two.
    "accumulation": [*NAE, "data.batches_per_epoch=11", "trainer.accumulate_grad_batches=2"],
    "average": [*EPOCHS, "callbacks=ema", "callbacks.ema.decay=0.5", "denoiser.dropout=0.2"],
    "time": [
        *EPOCHS,
        "denoiser=bidirectional",
        "objective=time",
        "optimizer.entropy_bonus=0.1",
        "optimizer.entropy_steps=20",
    ],
}


MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("task", "time", "accumulation")]


@pytest.mark.parametrize("name", ["average", *MORE])
def test_killed_twice(name, tmp_path):
    """In the middle of an epoch, and again soon after resuming, before the next checkpoint."""
    plan = [*VARIANTS[name], *PLAN]
    run(tmp_path / "whole", *plan)
    batches = 29 if name == "accumulation" else 17
    assert run_and_kill(tmp_path / "first", batches, *plan) == -signal.SIGKILL
    killed = last(tmp_path / "first")
    assert killed["global_step"] == 15
    assert (
        run_and_kill(
            tmp_path / "second", 1, *plan, f"resume={tmp_path / 'first'}", "checkpoint_every=1"
        )
        == -signal.SIGKILL
    )
    assert (
        run_and_kill(tmp_path / "first", 2, *plan, f"resume={tmp_path / 'first'}")
        == -signal.SIGKILL
    ), "into its own folder"
    same_training(killed, last(tmp_path / "first"))
    run(tmp_path / "second", *plan, f"resume={tmp_path / 'first'}", "overwrite=true")
    whole, resumed = last(tmp_path / "whole"), last(tmp_path / "second")
    assert whole["global_step"] == 23, (
        "the last step is kept though it is no multiple of checkpoint_every"
    )
    same_training(whole, resumed)
    assert (
        whole["state_dict"].keys()
        == resumed["state_dict"].keys()
        >= {"schedule.network.coefficients"}
    )
    assert not torch.equal(
        whole["state_dict"]["denoiser.head.weight"], killed["state_dict"]["denoiser.head.weight"]
    )


@pytest.mark.slow  # a quarter of a minute: processes of their own
def test_train_py_killed(tmp_path):
    """The real thing: train.py in a process of its own, on text, in its second epoch."""
    plan = [*text_overrides(tmp_path), *PLAN]
    run(tmp_path / "whole", *plan)
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "experiment=custom",
        f"output={tmp_path / 'killed'}",
    ]
    command += [*tiny_runs.SMALL, *tiny_runs.QUIET, *plan, *tiny_runs.kill_at(17)]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}:{Path(tiny_runs.__file__).parent}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, ""), "and no wall of warnings"
    assert last(tmp_path / "killed")["global_step"] == 15
    run(tmp_path / "resumed", *plan, f"resume={tmp_path / 'killed'}")
    same_training(last(tmp_path / "whole"), last(tmp_path / "resumed"))


@pytest.mark.parametrize("callbacks", [pytest.param("default", marks=pytest.mark.slow), "ema"])
def test_more_steps(callbacks, tmp_path):
    """A finished run goes on with a larger ``steps``, from last.ckpt or from best.ckpt, and leaves
    the old folder alone.
    """
    plan = [
        *EPOCHS,
        *PLAN,
        "optimizer.total_steps=40",
        f"callbacks={callbacks}",
        *(["callbacks.ema.decay=0.5"] * (callbacks == "ema")),
    ]
    plan += ["callbacks.samples=null"]
    run(tmp_path / "whole", *plan)
    run(tmp_path / "short", *plan, "steps=12")
    assert last(tmp_path / "short")["global_step"] == 12
    before = {
        path: hashlib.md5(path.read_bytes()).digest()
        for path in (tmp_path / "short").rglob("*")
        if path.is_file()
    }
    run(tmp_path / "resumed", *plan, f"resume={tmp_path / 'short'}")
    same_training(last(tmp_path / "whole"), last(tmp_path / "resumed"))
    run(tmp_path / "from_best", *plan, f"resume={tmp_path / 'short' / 'checkpoints' / 'best.ckpt'}")
    same_training(last(tmp_path / "whole"), last(tmp_path / "from_best"))
    assert before == {
        path: hashlib.md5(path.read_bytes()).digest()
        for path in (tmp_path / "short").rglob("*")
        if path.is_file()
    }


def test_by_epochs(tmp_path):
    """Without a number of steps: what is returned after a resume is what was trained."""
    plan = [
        *EPOCHS,
        *PLAN,
        "trainer.max_steps=-1",
        "optimizer.total_steps=40",
        "trainer.max_epochs=3",
        "validate_every=7",
    ]
    whole = run(tmp_path / "whole", *plan)
    run(tmp_path / "run", *plan, "trainer.max_epochs=1")
    resumed = run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}")
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_into_the_same_folder(tmp_path):
    plan = [*EPOCHS, *PLAN, "optimizer.total_steps=40", "trainer.log_every_n_steps=1"]
    run(tmp_path / "whole", *plan)
    run(tmp_path / "run", *plan, "steps=12")
    run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}")
    same_training(last(tmp_path / "whole"), last(tmp_path / "run"))
    whole, resumed = (
        (tmp_path / name / "csv" / "metrics.csv").read_text() for name in ("whole", "run")
    )
    assert whole == resumed
    assert os.listdir(tmp_path / "run" / "csv").count("metrics_1.csv") == 0
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


def test_a_rate_given_on_resuming_counts(tmp_path):
    """The mend that the divergence error names: a restored optimiser would keep the rates of the
    checkpoint.
    """
    plan = [*EPOCHS, *PLAN]
    run(tmp_path / "run", *plan, "steps=5")
    low = run(
        tmp_path / "low",
        *plan,
        "steps=8",
        "optimizer.lr=1e-5",
        "optimizer.schedule_lr=2e-5",
        f"resume={tmp_path / 'run'}",
    )
    groups = last(tmp_path / "low")["optimizer_states"][0]["param_groups"]
    settings = low.module.settings
    rates = [1e-5 * settings.denoiser_factor(8)] * 2 + [2e-5 * settings.schedule_factor(8)]
    assert [group["lr"] for group in groups] == pytest.approx(rates, rel=1e-12)
    before, after = (
        last(tmp_path / name)["state_dict"]["denoiser.head.weight"] for name in ("run", "low")
    )
    assert 0 < (after - before).abs().max() < 3 * 1.1e-5, (
        "three steps of Adam at the low rate, the first one included"
    )


def test_nothing_left_to_train(tmp_path):
    """Killed between training and report: the same command makes the report, with averaged weights
    where they are kept.
    """
    plan = [
        *EPOCHS,
        *PLAN,
        "steps=6",
        "callbacks=ema",
        "callbacks.samples=null",
        "callbacks.ema.decay=0.9",
    ]
    report = [
        "report={split: val, sequences: 8, draws: 2, importance_draws: 2, exact_sequences: null, "
        "batch_size: 8, seed: 0}"
    ]
    first = run(tmp_path / "run", *plan, *report)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    again = run(tmp_path / "copy", *plan, *report, f"resume={tmp_path / 'copy'}")
    same(
        finite(first.report.as_dict()), finite(again.report.as_dict()), "report"
    )  # NaN as None, which equals itself
    raw = last(tmp_path / "run")["current_model_state"]["denoiser.head.weight"]
    assert not torch.equal(again.module.denoiser.head.weight, raw)
    same_training(last(tmp_path / "run"), last(tmp_path / "copy"))


def test_a_write_cut_short_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)

    def cut_short(_, file):
        file.write(b"PK")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="no space"):
        WholeFiles().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
