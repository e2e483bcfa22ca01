"""Two processes train as one with twice the batch, whichever way they share the work. Killed, they
go on as two or as one. On the CPU, with gloo.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_runs
import torch
from tiny_runs import NAE, QUIET, ROOT, SMALL, kill_at, last, run

from ordo.errors import ConfigError
from ordo.runs.checkpoint import CheckpointError

pytestmark = pytest.mark.slow  # pairs of interpreters

PLAN = [
    *NAE,
    "schedule=power_table",
    "optimizer.schedule_delay=2",
    "steps=12",
    "validate_every=6",
    "checkpoint_every=3",
]
PLAN += ["trainer.log_every_n_steps=1", "callbacks.order.every=4"]
ONE, TWO = ["data.batch_size=8"], ["data.batch_size=4", "trainer=ddp", "trainer.devices=2"]
SHARDED = ["data.batch_size=4", "trainer=fsdp", "trainer.devices=2"]
OBJECTIVES = {
    "dense": ["objective=dense", "objective.unigram=true", "denoiser.layers=2"],
    "order": [
        "objective=order",
        "denoiser=bidirectional",
        "objective.score.unigram=true",
        "objective.score.relax=true",
    ],
    "time": [
        "objective=time",
        "denoiser=bidirectional",
        "schedule.bound=4",
        "trainer.accumulate_grad_batches=2",
    ],
}


def start(output, *plan, launcher=(), killed_at=None):
    """train.py in processes of its own; returns its exit status and standard error."""
    command = [
        sys.executable,
        *launcher,
        str(ROOT / "train.py"),
        "experiment=custom",
        f"output='{output}'",
        *SMALL,
        *QUIET,
        *plan,
    ]
    if killed_at is not None:
        command += kill_at(killed_at)
    paths = f"{ROOT / 'src'}:{Path(tiny_runs.__file__).parent}"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": paths,
    }
    done = subprocess.run(
        command, env=environment, cwd=output.parent, capture_output=True, text=True, timeout=400
    )
    return done.returncode, done.stderr


def losses(folder):
    with open(folder / "csv" / "metrics.csv") as file:
        return {
            int(row["step"]): float(row["train/bits_per_token"])
            for row in csv.DictReader(file)
            if row["train/bits_per_token"]
        }


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], atol=1e-5), name


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_are_one(name, tmp_path):
    """Steps with a learned law: equal losses, weights and running statistics. Killed after 8 of 12,
    two go on to the bit, and one to 1e-5. Pairs of processes are killed with one objective, which
    is enough for what has nothing to do with objectives.
    """
    plan = [*PLAN, *OBJECTIVES[name]]
    run(tmp_path / "one", *plan, *ONE)
    status, error = start(tmp_path / "two", *plan, *TWO)
    assert status == 0, error
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 12
    assert one == pytest.approx(two, abs=1e-5)
    want = last(tmp_path / "two")["state_dict"]
    close(last(tmp_path / "one")["state_dict"], want)
    assert want["schedule.network.table"].abs().max() > 0, "the law has moved"
    if name != "order":
        return
    status, _ = start(tmp_path / "killed", *plan, *TWO, killed_at=8)
    assert status != 0
    assert last(tmp_path / "killed")["global_step"] == 6
    run(tmp_path / "by_one", *plan, *ONE, f"resume={tmp_path / 'killed'}")
    close(last(tmp_path / "by_one")["state_dict"], want)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29611"]
    status, error = start(
        tmp_path / "by_two", *plan, *TWO, f"resume={tmp_path / 'killed'}", launcher=launcher
    )
    assert status == 0, error
    resumed = last(tmp_path / "by_two")["state_dict"]
    assert all(torch.equal(resumed[key], want[key]) for key in want)


def test_sharded(tmp_path):
    """FSDP2 with accumulation: the numbers of one process, a report of the gathered weights; parts
    that only such a run goes on from, and then one file.
    """
    plan = [*PLAN, *OBJECTIVES["dense"], "trainer.accumulate_grad_batches=2"]
    report = "report={split: val, sequences: null, draws: 2, importance_draws: 2, "
    report += "exact_sequences: null, batch_size: 8, seed: 0, weights: last}"
    one = run(tmp_path / "one", *plan, *ONE, report)
    want = last(tmp_path / "one")["state_dict"]
    status, error = start(tmp_path / "sharded", *plan, *SHARDED, report)
    assert status == 0, error
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "sharded"), abs=1e-5)
    close(last(tmp_path / "sharded")["state_dict"], want)
    found = json.loads((tmp_path / "sharded" / "report.json").read_text())["estimates"]
    for key, estimate in one.report.estimates.items():
        assert found[key]["nats"] == pytest.approx(estimate.nats, abs=1e-4)
        assert found[key]["sequences"] == 16, "of all sequences, not of one process's share"
    parts = ["trainer.strategy.sharded_checkpoints=true", "steps=6", "optimizer.total_steps=12"]
    status, error = start(tmp_path / "parts", *plan, *SHARDED, *parts)
    assert status == 0, error
    assert (tmp_path / "parts" / "checkpoints" / "last.ckpt" / ".metadata").is_file()
    with pytest.raises(CheckpointError, match="is in parts, from which only trainer=fsdp can go"):
        run(tmp_path / "parts", *plan, *ONE, f"resume={tmp_path / 'parts'}")
    status, error = start(tmp_path / "parts", *plan, *SHARDED, f"resume={tmp_path / 'parts'}")
    assert status == 0, error
    close(last(tmp_path / "parts")["state_dict"], want)
    more = [
        *SHARDED,
        "trainer.strategy.sharded_checkpoints=true",
        "steps=15",
        f"resume={tmp_path / 'parts'}",
    ]
    status, error = start(tmp_path / "parts", *plan, *more)
    assert status == 0, f"from one file to parts, which are saved twice: {error}"
    assert sorted(path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
    with pytest.raises(ConfigError, match="callbacks=ema keeps a whole copy"):
        run(tmp_path / "averages", *plan, *SHARDED, "callbacks=ema")


def test_compiled(tmp_path):
    plan = [*PLAN, *OBJECTIVES["dense"], "steps=4"]
    run(tmp_path / "one", *plan, *ONE)
    status, error = start(tmp_path / "two", *plan, *TWO, "compile=true")
    assert status == 0, error
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), abs=1e-4)


def test_a_given_order(tmp_path):
    """Nothing random, nothing learned about the order."""
    plan = [*PLAN, "schedule=left_to_right", "steps=3"]
    run(tmp_path / "one", *plan, *ONE)
    status, error = start(tmp_path / "two", *plan, *TWO)
    assert status == 0, error
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), abs=1e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_together(number, tmp_path):
    """A signal to the first process alone, or Ctrl-C to both: they end at one step, with a
    checkpoint.
    """
    plan = [
        *PLAN,
        *OBJECTIVES["dense"],
        *TWO,
        "steps=100000",
        "validate_every=100000",
        "checkpoint_every=100000",
    ]
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "experiment=custom",
        "output=run",
        *SMALL,
        *QUIET,
        *plan,
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT / "src"),
    }
    shared = {
        "env": environment,
        "cwd": tmp_path,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
    }
    # A shell starts what runs in the background deaf to Ctrl-C, and a child is as its parent.
    process = subprocess.Popen(
        command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **shared
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "run/csv/metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    try:
        _, err = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number, err
    step = last(tmp_path / "run")["global_step"]
    assert f"stopped at step {step}, last checkpoint of step {step} in run; to go on: python" in err
    assert "Traceback" not in err
