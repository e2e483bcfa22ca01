"""Running moments of the schedule's gradient against a plain sum over all vectors, and in runs."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import NAE, last, run, run_and_kill

from ordo.training import RunningMoments

LEARNED = [*NAE, "schedule=power_table", "optimizer.schedule_delay=0"]


def weighted(vectors, window):
    """Mean, variance and signal to noise from all vectors at once, with the weights written out."""
    n = len(vectors)
    weight = (1 - 1 / window) ** np.arange(n - 1, -1, -1)
    weight = weight / weight.sum()
    mean = weight @ vectors
    spread = weight @ ((vectors - mean) ** 2).sum(1) / (1 - (weight**2).sum())
    return spread, (mean**2).sum() / (spread * (weight**2).sum())


@pytest.mark.parametrize("n", [2, 7, 400])
def test_moments_are_weighted_sums(n):
    vectors = np.random.default_rng(0).normal(1.0, 2.0, (n, 5))
    moments = RunningMoments(20)
    for vector in vectors:
        moments.add(torch.from_numpy(vector))
    assert moments.signal().tolist() == pytest.approx(weighted(vectors, 20), rel=1e-9)


def test_known_mean_and_variance():
    """Independent vectors of variance 4 in each of 50 coordinates: the trace is 200; without a mean
    signal to noise is 1.
    """
    generator = torch.Generator().manual_seed(0)
    variances, ratios = [], {0.0: [], 0.5: []}
    for mean in ratios:
        moments = RunningMoments(50)
        for step in range(4000):
            moments.add(mean + 2 * torch.randn(50, generator=generator))
            if step >= 300 and step % 200 == 0:  # so far apart that windows are independent
                variance, ratio = moments.signal().tolist()
                variances.append(variance)
                ratios[mean].append(ratio)
    assert np.mean(variances) == pytest.approx(200, rel=0.03)
    assert np.mean(ratios[0.0]) == pytest.approx(1.0, abs=0.15)
    # |mean|^2 = 12.5 over the variance of the mean, 200 / 99 (2 * 50 - 1 vectors count), and 1 of
    # noise
    assert np.mean(ratios[0.5]) == pytest.approx(1 + 12.5 * 99 / 200, rel=0.1)


def test_steps_that_mixed_precision_skips_do_not_count():
    a, b = RunningMoments(10), RunningMoments(10)
    for i in range(6):
        vector = torch.arange(3.0) * i
        a.add(vector)
        b.add(vector)
        b.add(torch.tensor([1.0, torch.inf, 0.0]))
        b.add(torch.tensor([torch.nan, 0.0, 0.0]))
    assert torch.equal(a.signal(), b.signal())
    assert RunningMoments(10).state == {}
    alone = RunningMoments(10)
    alone.add(torch.ones(3))
    assert torch.isnan(alone.signal()).all(), "one vector has no variance"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradients_of_a_run(accumulate, tmp_path, monkeypatch):
    """What is added are the gradients of optimiser steps before clipping: from them the logged
    values follow.
    """
    seen = []
    add = RunningMoments.add
    monkeypatch.setattr(
        RunningMoments,
        "add",
        lambda self, vector: (seen.append(vector.double().clone()), add(self, vector))[1],
    )
    settings = [
        "steps=12",
        "validate_every=6",
        "trainer.log_every_n_steps=4",
        "callbacks.gradient.every=4",
        "callbacks.gradient.window=5",
    ]
    settings += ["optimizer.schedule_clip=1e-9", f"trainer.accumulate_grad_batches={accumulate}"]
    run(tmp_path / "run", *LEARNED, *settings)
    assert len(seen) == 12
    with np.load(tmp_path / "run" / "gradient_signal.npz") as saved:
        assert saved["step"].tolist() == [4, 8, 12]
        for step, variance, ratio in zip(
            saved["step"], saved["variance"], saved["signal_to_noise"], strict=True
        ):
            assert (variance, ratio) == pytest.approx(
                weighted(torch.stack(seen[:step]).numpy(), 5), rel=1e-6
            )
        log = pd.read_csv(tmp_path / "run" / "csv" / "metrics.csv")
        logged = log[["train/schedule_gradient_variance", "train/schedule_gradient_snr"]].dropna()
        assert np.allclose(
            logged.to_numpy(), np.stack([saved["variance"], saved["signal_to_noise"]], 1), rtol=1e-5
        )
    assert torch.stack(seen[1:]).norm(dim=1).min() > 1e-6, "not clipped"


def test_resumes_to_the_same_numbers(tmp_path):
    plan = [
        *LEARNED,
        "steps=9",
        "checkpoint_every=4",
        "validate_every=9",
        "callbacks.gradient.every=3",
        "callbacks.gradient.window=4",
    ]
    run(tmp_path / "whole", *plan)
    assert run_and_kill(tmp_path / "killed", 6, *plan) == -9
    assert last(tmp_path / "killed")["global_step"] == 4
    run(tmp_path / "resumed", *plan, f"resume={tmp_path / 'killed'}")
    with (
        np.load(tmp_path / "whole" / "gradient_signal.npz") as a,
        np.load(tmp_path / "resumed" / "gradient_signal.npz") as b,
    ):
        assert a["step"].tolist() == [3, 6, 9]
        for name in a.files:
            assert np.array_equal(a[name], b[name], equal_nan=True), name


def test_a_schedule_that_does_not_learn(tmp_path):
    run(
        tmp_path / "run",
        *NAE,
        "schedule=linear",
        "steps=4",
        "validate_every=2",
        "callbacks.gradient.every=1",
    )
    assert not (tmp_path / "run" / "gradient_signal.npz").exists()
