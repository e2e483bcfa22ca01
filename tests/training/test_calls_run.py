"""A whole run for K denoiser calls: validation, report and samples are those of K steps."""

import json
import re

import pytest
import torch
from tiny_runs import NAE, call, configuration, run

from ordo.denoisers.cost import nll_of_set
from ordo.errors import ConfigError
from ordo.likelihood import likelihood_report
from ordo.runs import load
from ordo.runs.run import check_run

CALLS = ["calls=2", "schedule=step_table", "denoiser=bidirectional", "objective=order"]
REPORT = ["report.sequences=16", "report.draws=400", "report.importance_draws=4"]
REPORT += ["report.samples=4", "report.orders=0", "report.page=true"]


def test_a_run_for_two_calls(tmp_path, monkeypatch, capfd):
    folder = tmp_path / "run"
    plan = [*NAE, *CALLS, "steps=6", "validate_every=3", "optimizer.schedule_delay=1"]
    plan += ["optimizer.entropy_bonus=0.3", "optimizer.entropy_steps=4"]
    status, _, err = call(
        "train.py", "experiment=custom", *plan, *REPORT, f"output={folder}", "threads=1",
        "denoiser.width=16", "denoiser.heads=2", "denoiser.layers=1", "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false", monkeypatch=monkeypatch, capfd=capfd,
    )  # fmt: skip
    assert status == 0, err
    report = json.loads((folder / "report.json").read_text())
    assert report["settings"]["calls"] == 2
    assert "at most 2 calls of the network" in (folder / "report.html").read_text()
    module, _ = load(folder)
    assert module.calls == 2
    tokens = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0]])
    steps = module.schedule.logits.argmax(-1)
    total = torch.zeros(2, dtype=torch.float64)
    for k in range(2):  # a plain loop: two calls
        hidden = (steps >= k).expand(2, -1)
        z = tokens.masked_fill(hidden, module.denoiser.mask_id)
        where = (steps == k).expand(2, -1)
        total += nll_of_set(module.denoiser, z, tokens, where).sum(-1)
    found = likelihood_report(module.denoiser, module.schedule, tokens, calls=2)
    assert torch.allclose(found.values["mode_exact"], total)
    status, _, err = call(
        "ordo sample", f"checkpoint={folder}", "n=5", f"out={tmp_path / 's.npy'}",
        "sampler=by_steps", monkeypatch=monkeypatch, capfd=capfd,
    )  # fmt: skip
    assert status == 0, err
    assert re.search(r"\b[12]\.\d calls each", err), err


def test_calls_that_fit_nothing(tmp_path):
    with pytest.raises(ConfigError, match="calls=3 needs objective=order or objective=dense"):
        check_run(
            configuration(tmp_path, *NAE, "calls=3", "denoiser=bidirectional", "objective=time")
        )
    with pytest.raises(ConfigError, match="say how many, calls=K"):
        check_run(configuration(tmp_path, *NAE, "schedule=step_table"))
    with pytest.raises(ConfigError, match="calls=2 needs a law of positions"):
        run(
            tmp_path / "run", *NAE, "calls=2", "denoiser=bidirectional", "objective=order",
            "schedule=per_context",
        )  # fmt: skip
    with pytest.raises(
        ConfigError, match="made for 2 denoiser calls, and the objective trains for 3: set calls=2"
    ):
        run(tmp_path / "run", *NAE, *CALLS, "calls=3", "schedule.calls=2")
    assert not (tmp_path / "run").exists()
