"""What a run logs of its steps: rates, gradient norms, tokens a second, memory."""

import math
import sys

import pandas as pd
import pytest
import torch
from tiny_runs import NAE, run
from torch import nn

from ordo.batch import Batch
from ordo.training import diagnostics, module

RATE, MEMORY = diagnostics.Speed.rate, diagnostics.peak_memory  # ``equal_costs`` replaces both
LEARNED = [*NAE, "schedule=power_table", "optimizer.schedule_delay=3", "optimizer.warmup_steps=4"]


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


def logged(folder):
    return pd.read_csv(folder / "csv" / "metrics.csv").groupby("step").first()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_rates_and_norms_of_a_run(accumulate, tmp_path, monkeypatch):
    """In rows of every third step: norms of the gradients before clipping, and the rates that the
    settings give the step.
    """
    norms = []

    def clip(denoiser, schedule, settings):
        squares = [
            sum(
                float((p.grad.double() ** 2).sum()) for p in part.parameters() if p.grad is not None
            )
            for part in (denoiser, schedule)
        ]
        norms.append([square**0.5 for square in squares])
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1e-3)
        nn.utils.clip_grad_norm_(schedule.parameters(), 1e-3)

    monkeypatch.setattr(module, "clip_gradients", clip)
    every = ["trainer.log_every_n_steps=3", f"trainer.accumulate_grad_batches={accumulate}"]
    result = run(tmp_path / "run", *LEARNED, *every, "steps=9", "validate_every=9")
    rows, settings = logged(tmp_path / "run"), result.module.settings
    rows = rows[rows["train/lr"].notna()]
    assert rows.index.tolist() == [2, 5, 8]
    assert len(norms) == 9
    for step, row in rows.iterrows():
        assert row["train/lr"] == pytest.approx(settings.lr * settings.denoiser_factor(step))
        assert row["train/schedule_lr"] == pytest.approx(
            settings.schedule_lr * settings.schedule_factor(step)
        )
        found = row["train/gradient_norm"], row["train/schedule_gradient_norm"]
        assert found == pytest.approx(norms[step], rel=1e-5)
    assert rows["train/schedule_lr"].tolist()[0] == 0 < rows["train/schedule_lr"].tolist()[1]
    assert "train/base_lr" not in rows
    assert rows["train/bits_per_token"].notna().all()
    bits = rows["train/nelbo"] / (6 * math.log(2))  # 6 positions
    assert rows["train/bits_per_token"].tolist() == pytest.approx(bits.tolist())


def test_nothing_is_computed_where_nothing_is_logged(tmp_path, monkeypatch):
    calls = []
    real = module.gradient_norms
    monkeypatch.setattr(module, "gradient_norms", lambda *a: (calls.append(1), real(*a))[1])
    run(tmp_path / "a", *LEARNED, "trainer.log_every_n_steps=4", "steps=9", "validate_every=9")
    assert len(calls) == 2
    run(tmp_path / "b", *LEARNED, "logger.csv=null", "steps=9", "validate_every=9")
    assert len(calls) == 2


def test_tokens_per_second_leave_out_validations(tmp_path, monkeypatch):
    """Every step of 8 sequences of 6 tokens takes 2 s, every validation 50 s."""
    clock = Clock()
    monkeypatch.setattr(diagnostics, "time", clock)
    monkeypatch.setattr(diagnostics.Speed, "rate", RATE)
    monkeypatch.setattr(module, "peak_memory", MEMORY)
    step, validate = module.OrderDiffusion.training_step, module.OrderDiffusion.validation_step

    def slow_step(self, batch, batch_idx):
        clock.now += 2
        return step(self, batch, batch_idx)

    def slow_validation(self, batch, batch_idx):
        clock.now += 50
        return validate(self, batch, batch_idx)

    monkeypatch.setattr(module.OrderDiffusion, "training_step", slow_step)
    monkeypatch.setattr(module.OrderDiffusion, "validation_step", slow_validation)
    run(tmp_path, *LEARNED, "trainer.log_every_n_steps=2", "steps=8", "validate_every=3")
    rows = logged(tmp_path)
    assert rows["train/tokens_per_second"].dropna().tolist() == pytest.approx([24.0] * 4)
    assert clock.now > 200, "there were validations"
    memory = rows["train/peak_memory_gib"].dropna()
    assert memory.is_monotonic_increasing
    assert 0.05 < memory.iloc[0] < 64


def test_speed_counts_no_padding(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(diagnostics, "time", clock)
    speed = diagnostics.Speed()
    tokens = torch.zeros(3, 5, dtype=torch.long)
    speed.count(Batch(tokens, lengths=torch.tensor([5, 1, 2])))
    speed.count(Batch(tokens, known=tokens > 0))
    clock.now += 2
    speed.pause()
    clock.now += 7
    speed.go_on()
    speed.go_on()
    assert RATE(speed) == pytest.approx((8 + 15) / 2)
    clock.now += 1
    assert RATE(speed) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_peak_memory_is_that_of_the_process():
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    assert MEMORY(torch.device("cpu")) == pytest.approx(int(line.split()[1]) / 1024**2, rel=0.05)
