"""What a user sees while a run goes on."""

import io
import math
import re
from pathlib import Path

from rich.console import Console
from tiny_runs import CONFIGS, NAE, call, run

from ordo.training import StepProgress, progress


def test_numbers():
    metrics = {
        "train/bits_per_token": 3.51249,
        "val/bits_per_token": 3.6,
        "train/order_entropy": 45.871,
        "train/advantage_rms": 1.0,
    }
    assert StepProgress.numbers(metrics) == "bits 3.512  val 3.600  H(order) 45.9"
    assert (
        StepProgress.numbers({"train/bits_per_token": math.nan, "train/order_entropy": math.nan})
        == "bits nan"
    )
    assert StepProgress.numbers({}) == ""


def test_one_line_of_80_columns(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress,
        "Console",
        lambda stderr: Console(file=screen, force_terminal=True, width=80, color_system=None),
    )
    run(
        tmp_path / "run",
        *NAE,
        "steps=12",
        "validate_every=6",
        "trainer.enable_progress_bar=true",
        "callbacks.progress.every=0",
    )
    shown = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip()
        for line in re.split(r"[\r\n]", screen.getvalue())
    ]
    shown = [line for line in shown if line]
    assert all(len(line) <= 80 for line in shown)
    assert re.fullmatch(
        r"step 12/12 ━{12} [0-9:-]+ bits \d\.\d{3}  val \d\.\d{3}  H\(order\) \d\.\d", shown[-1]
    ), shown[-1]


def test_log_file(tmp_path, capfd):
    """Where standard error is no terminal: a line after each validation and nothing else."""
    run(
        tmp_path / "run",
        *NAE,
        "steps=12",
        "validate_every=6",
        "optimizer.schedule_delay=1",
        "optimizer.warmup_steps=2",
        "trainer.enable_progress_bar=true",
    )
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 2, lines
    for step, line in zip((" 6/12  0:0\\d left", "12/12"), lines, strict=True):
        assert re.fullmatch(
            rf"step {step}  bits \d\.\d{{3}}  val \d\.\d{{3}}  H\(order\) \d\.\d", line
        )


def test_help(monkeypatch, capfd):
    status, out, _ = call("train.py", "--help", monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    for folder in (path for path in Path(CONFIGS).iterdir() if any(path.glob("*.yaml"))):
        assert (
            f"{folder.name}: {', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}"
            in out
        )
    status, out, _ = call("eval.py", "--help", monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    assert "checkpoint: ???" in out
    assert "ordo eval checkpoint=" in out
