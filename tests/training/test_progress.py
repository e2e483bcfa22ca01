"""What a user sees while a run goes on."""

import io
import math
import re
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console
from tiny_runs import CONFIGS, NAE, call, run

from ordo.training import StepProgress, progress


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


def test_numbers():
    metrics = {
        "train/bits_per_token": 3.51249,
        "train/nelbo": 77.9,
        "val/bits_per_token": 3.6,
        "val/nelbo": 79.84,
        "train/order_entropy": 45.871,
        "train/advantage_rms": 1.0,
    }
    bits = "train 3.512, val 3.600 bits/char"
    assert StepProgress.numbers(metrics, "char") == f"{bits}, H(order) 45.9 nats"
    room = len(bits) + len(", H 45.9")
    assert StepProgress.numbers(metrics, "char", room) == f"{bits}, H 45.9"
    assert StepProgress.numbers(metrics, "char", room - 1) == bits
    nats = "train 77.900, val 79.840 nats"
    assert StepProgress.numbers(metrics, "column", 0) == f"{nats}/row"
    assert StepProgress.numbers(metrics, "SMILES symbol", 0) == f"{nats}/molecule"
    unknown = {"train/bits_per_token": math.nan, "train/order_entropy": math.nan}
    assert StepProgress.numbers(unknown) == "train nan bits/token"
    assert StepProgress.numbers({"train/order_entropy": 2.0}) == "H(order) 2.0 nats"
    assert StepProgress.numbers({}) == ""


def test_pace(monkeypatch):
    """4 steps/s for a minute, then 1 in 2 s for a minute: the last minute counts."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    pace = progress.Pace(10)
    assert pace.words(1000) == []
    for _ in range(60):
        clock.now += 1
        pace.add(pace.seen[-1][1] + 4)
    assert pace.words(1000) == ["3:08 left", "4.00 steps/s"]  # 750 / 4 s
    for _ in range(30):
        clock.now += 2
        pace.add(pace.seen[-1][1] + 1)
    assert pace.words(1000) == ["24:00 left", "2.0 s/step"]  # 720 * 2 s
    assert pace.words(280) == ["2.0 s/step"], "nothing is left"
    assert pace.words(-1) == ["2.0 s/step"], "nobody knows how many there will be"
    for speed, words in ((12.34, "12.3 steps/s"), (123.4, "123 steps/s"), (1.0, "1.00 steps/s")):
        pace = progress.Pace(0)
        clock.now += 10000 / speed
        pace.add(10000)
        assert pace.words(10000) == [words]


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
    pace, entropy = r"\d+(\.\d+)? steps/s", r"H(\(order\) \d\.\d nats| \d\.\d)"
    numbers = rf"train \d\.\d{{3}}, val \d\.\d{{3}} bits/token, {entropy}"
    assert re.fullmatch(rf"12/12 ━{{6}} {pace} {numbers}", shown[-1]), shown[-1]


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
    pace = r"\d+(\.\d+)? steps/s"
    numbers = r"train \d\.\d{3}, val \d\.\d{3} bits/token, H\(order\) \d\.\d nats"
    for step, line in zip((" 6/12  0:0\\d left", "12/12"), lines, strict=True):
        assert re.fullmatch(rf"step {step}  {pace}  {numbers}", line), line


def test_a_line_every_half_minute(monkeypatch, capfd):
    """12 steps of 10 s, without a validation: after more than 30 s there is a line."""
    clock, bar = Clock(), StepProgress()
    monkeypatch.setattr(progress, "time", clock)
    data = SimpleNamespace(unit="column")
    metrics = {"train/nelbo": 20.0, "train/bits_per_token": 1.0}
    trainer = SimpleNamespace(
        global_step=0, max_steps=12, datamodule=data, callback_metrics=metrics
    )
    bar.on_train_start(trainer, None)
    for _ in range(12):
        clock.now += 10
        trainer.global_step += 1
        bar.on_train_batch_end(trainer, None)
    bar.on_train_end(trainer, None)
    numbers = "10.0 s/step  train 20.000 nats/row"
    assert capfd.readouterr().err.splitlines() == [
        f"step  4/12  1:20 left  {numbers}",
        f"step  8/12  0:40 left  {numbers}",
        f"step 12/12  {numbers}",
    ]


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
