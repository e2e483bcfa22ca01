"""What a report says of known laws and hands to its pictures: nothing under a wrong name."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from tiny_runs import NAE, configuration

from ordo import plots
from ordo.report import read_record
from ordo.report.optimisation import optimisation_pictures
from ordo.report.pictures import likelihood_pictures, order_pictures
from ordo.runs.build import build_data, build_module
from ordo.runs.evaluation import examine, save_evaluation
from ordo.schedules import ArrivalTimes, Power


class OfTimes(Power):
    """The schedule 1 - t^w without a closed-form law: orders are drawn and counted."""

    def law(self, batch=None):
        return ArrivalTimes(self)


@pytest.fixture
def evaluated(tmp_path):
    """From parts of the configuration and log_w (6,) to an untrained model's evaluation.

    Returns the evaluation, the data, and the record.
    """

    def of(*parts, log_w=None, kind=None):
        config = configuration(tmp_path / "run", *NAE, *parts)
        data = build_data(config)
        module = build_module(config).eval().requires_grad_(False)
        if kind is not None:
            module.schedule.__class__ = kind
        if log_w is not None:
            module.schedule.network.table.copy_(log_w)
        done = examine(module, data, OmegaConf.create(SETTINGS), progress=False)
        save_evaluation(done, module, data, tmp_path / "out", settings={"seed": 0})
        return done, data, read_record(tmp_path / "out")

    return of


SETTINGS = {
    "split": "val",
    "sequences": 16,
    "draws": 2,
    "importance_draws": 2,
    "exact_sequences": None,
    "orders": 5,
}
SETTINGS |= {"samples": 0, "batch_size": 16, "seed": 0}
LOG_W = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.8, -1.0])  # of mean 0, as the schedule has it


def test_precedence_kept_of_known_laws(evaluated):
    """Plackett-Luce: w_i / (w_i + w_j), in closed form and from drawn times; one order: 0 or 1."""
    _, data, record = evaluated("schedule=power_table", log_w=LOG_W)
    pairs = data.precedence
    w = LOG_W.double().exp()
    exact = float(np.mean([w[i] / (w[i] + w[j]) for i, j in pairs]))
    mirrored = float(np.mean([w[j] / (w[i] + w[j]) for i, j in pairs]))
    assert abs(exact - mirrored) > 0.05, "a law that tells one direction from the other"
    assert record.report["precedence_kept"] == pytest.approx(exact, abs=1e-7)

    _, _, record = evaluated(
        "schedule=power_table",
        "objective=time",
        "denoiser=bidirectional",
        log_w=LOG_W,
        kind=OfTimes,
    )
    drawn = record.values["orders"].argsort(1)
    share = np.mean([drawn[:, i] < drawn[:, j] for i, j in pairs], axis=0)
    assert record.report["precedence_kept"] == pytest.approx(share.mean())
    assert abs(share.mean() - exact) < 4 * share.std() / math.sqrt(len(share))
    assert "order of mean ranks" in record.report["order_nll"]["marks"]

    _, _, record = evaluated("schedule=left_to_right")
    assert record.report["precedence_kept"] == np.mean([i < j for i, j in pairs])
    assert "mode order" in record.report["order_nll"]["marks"]


def test_pictures_are_given_what_they_name(evaluated, monkeypatch):
    done, data, record = evaluated("schedule=power_table", log_w=LOG_W)
    given = {}

    def spy(name):
        def call(*arguments):
            given.setdefault(name, []).append(arguments)
            return Figure()

        monkeypatch.setattr(plots, name, call)

    names = (
        "loss_by_revealed",
        "order_nll_violin",
        "loss_heatmap",
        "order_heatmap",
        "schedule_curves",
        "precedence_matrix",
        "step_sizes",
    )
    for name in names:
        spy(name)
    drawn = [*order_pictures(record), *likelihood_pictures(record)]
    assert [p.name for p in drawn if p.name != "step_sizes"] == [
        "order", "schedule", "precedence", "loss_by_revealed", "order_nll",
        "loss_heatmap_uniform", "loss_heatmap_own",
    ]  # fmt: skip
    # From the evaluation and from closed forms, not from the record that the pictures are made of.
    w = LOG_W.double().exp().numpy()
    (((curves,),),) = (given["loss_by_revealed"],)
    assert set(curves) == {"uniform orders", "own orders"}
    for law in ("uniform", "own"):
        assert curves[f"{law} orders"][0] == pytest.approx(
            done.report.loss_by_revealed[law]["nats"]
        )
        assert curves[f"{law} orders"][1] == pytest.approx(
            done.report.loss_by_revealed[law]["standard_error"]
        )
    assert curves["uniform orders"][0] != pytest.approx(curves["own orders"][0])
    (((violins, marks, unit),),) = (given["order_nll_violin"],)
    assert unit == "nats per sequence"
    assert violins["uniform"] == pytest.approx(done.orders.uniform.numpy())
    assert violins["own law"] == pytest.approx(done.orders.own.numpy())
    assert violins["uniform"] != pytest.approx(violins["own law"])
    assert marks == pytest.approx(done.orders.marks())
    for law, (losses, labels, _, _) in zip(("uniform", "own"), given["loss_heatmap"], strict=True):
        expected = done.report.loss_by_position_and_revealed[law]["nats"].numpy()
        assert losses == pytest.approx(expected, nan_ok=True)
        assert labels == data.labels
    first, second = (losses for losses, *_ in given["loss_heatmap"])
    assert first != pytest.approx(second, nan_ok=True)
    ((ranks, _),) = given["order_heatmap"]
    assert ranks.shape == (6, 6)
    orders = 2000
    first = w / w.sum()  # P(a position comes first)
    assert (abs(ranks[:, 0] - first) < 4 * np.sqrt(first * (1 - first) / orders)).all(), (
        "rows are positions, columns ranks"
    )
    ((t, alpha, _),) = given["schedule_curves"]
    assert alpha == pytest.approx(1 - t[:, None] ** w, abs=1e-6)
    ((before, _, marked),) = given["precedence_matrix"]
    expected = w[:, None] / (w[:, None] + w)
    np.fill_diagonal(expected, 0)
    assert before == pytest.approx(expected, abs=1e-6), "the row before the column"
    assert marked == [tuple(pair) for pair in data.precedence]


def test_rates_and_norms_of_the_parts_that_learn(monkeypatch):
    nan = float("nan")
    columns = {
        "step": [49, 99, 99, 149],
        "train/lr": [1e-3, 2e-3, nan, 3e-3],
        "train/schedule_lr": [0.0, 0.1, nan, 0.2],
        "train/gradient_norm": [5.0, 6.0, nan, 7.0],
        "train/schedule_gradient_norm": [1.0, 2.0, nan, 3.0],
        "val/nelbo": [nan, nan, 9.0, nan],
    }
    given = []
    monkeypatch.setattr(plots, "rates_and_norms", lambda *panels: given.append(panels))
    record = SimpleNamespace(metrics=pd.DataFrame(columns))
    assert [picture.name for picture in optimisation_pictures(record)] == ["optimisation"]
    for panel, prefix in zip(given[0], ("lr", "gradient_norm"), strict=True):
        assert list(panel) == ["denoiser", "schedule"]
        for (steps, values), part in zip(panel.values(), ("", "schedule_"), strict=True):
            assert steps.tolist() == [50, 100, 150]
            assert values.tolist() == [x for x in columns[f"train/{part}{prefix}"] if x == x]
    record.metrics = record.metrics[:1]
    assert optimisation_pictures(record) == []
    record.metrics = record.metrics[["step"]]
    assert optimisation_pictures(record) == []
