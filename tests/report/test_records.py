"""Records of runs: logs of resumed runs, orders in words, paired differences, names of runs."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from ordo.likelihood import LikelihoodReport
from ordo.likelihood.report import Estimate
from ordo.order import PlackettLuce
from ordo.report import LABELS, Record, cell, unit_of
from ordo.report.comparison import labels, paired
from ordo.report.order import in_words, law_arrays
from ordo.report.paired import comparable, gain, not_comparable, unit_among
from ordo.report.record import curve, read_metrics, read_record
from ordo.report.run_page import duration
from ordo.runs.evaluation import report_table
from ordo.schedules import FreeTable, Power


def record(folder="outputs/a", config=None, data="set", split="val", **values):
    provenance = {"data": {"name": data, "seed": hash(str(folder)) % 7}}
    return Record(
        folder,
        {"split": split, "scored": f"{data} {split}"},
        config or {},
        provenance,
        {name: np.asarray(v, dtype=float) for name, v in values.items()},
    )


def test_a_log_that_was_resumed(tmp_path):
    (tmp_path / "csv").mkdir()
    pd.DataFrame(
        {"step": [9, 19, 19], "loss": [3.0, 2.0, np.nan], "val": [np.nan, np.nan, 2.5]}
    ).to_csv(tmp_path / "csv" / "metrics_1.csv")
    pd.DataFrame({"step": [19, 29], "loss": [1.9, 1.0]}).to_csv(tmp_path / "csv" / "metrics.csv")
    metrics = read_metrics(tmp_path)
    steps, values = curve(metrics, "loss")
    assert steps.tolist() == [10, 20, 30]
    assert values.tolist() == [3.0, 1.9, 1.0], (
        "the resumed run's own value of a step that both have"
    )
    assert [x.tolist() for x in curve(metrics, "val")] == [[20], [2.5]]
    assert curve(metrics, "nothing")[0].size == 0
    assert read_metrics(tmp_path / "elsewhere").empty


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="no report in"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("log_w", "labels", "words"),
    [
        (torch.zeros(8), None, "uniformly random"),
        (-20.0 * torch.arange(8), None, "all but fixed: left to right"),
        (20.0 * torch.arange(8), None, "all but fixed: right to left"),
        (0.5 * torch.arange(8), None, r"leans right to left; it is still random to \d\d%"),
        (
            20.0 * torch.tensor([3, 0, 2, 1]),
            ["age", "sex", "job", "pay"],
            "all but fixed: positions age, job first, pay, sex last",
        ),
        (torch.linspace(0.3, -0.3, 64), None, "close to uniformly random, leaning left to right"),
    ],
)
def test_orders_in_words(log_w, labels, words):
    law = PlackettLuce(log_w)
    assert re.search(words, in_words(law.expected_rank().numpy(), float(law.entropy()[0]), labels))


def test_arrays_are_those_of_the_law():
    torch.manual_seed(0)
    schedule = Power(5, FreeTable(5, init_std=1.0)).requires_grad_(False)
    arrays, law = law_arrays(schedule), schedule.law()
    assert isinstance(law, PlackettLuce)
    w = law.log_w.exp().numpy()
    assert w.max() > 2 * w.min()
    assert arrays["alpha"] == pytest.approx(1 - arrays["t"][:, None] ** w, abs=1e-12)
    assert arrays["precedence"] + arrays["precedence"].T == pytest.approx(1 - np.eye(5))
    rank = arrays["orders"].argsort(1) + 1
    error = rank.std(0) / math.sqrt(len(rank))
    assert (abs(rank.mean(0) - arrays["expected_rank"]) < 4 * error + 1e-9).all()
    assert arrays["order_entropy"] == pytest.approx(float(law.entropy()[0]))


def test_paired_differences():
    values = np.random.default_rng(0).normal(size=(2, 50))
    a, b = record(own_nelbo=values[0]), record("outputs/b", own_nelbo=values[1] + values[0])
    mean, error = paired(a, b, "own_nelbo")
    assert mean == pytest.approx(values[1].mean())
    assert error == pytest.approx(values[1].std(ddof=1) / math.sqrt(50))
    assert paired(a, record(data="another", own_nelbo=values[0]), "own_nelbo") is None
    assert paired(a, record(split="test", own_nelbo=values[0]), "own_nelbo") is None
    assert paired(a, record(own_nelbo=values[0, :9]), "own_nelbo") is None
    some, others = (
        {"mode_exact": values[0], "exact_rows": rows} for rows in (np.arange(50), np.arange(50) * 2)
    )
    assert paired(record(**some), record(**some), "mode_exact") == pytest.approx((0, 0))
    assert paired(record(**some), record(**others), "mode_exact") is None


def scored(nats, scored="a", unit="char", length=8, **report):
    """A record whose sequences have these nats."""
    nats = np.asarray(nats, dtype=float)
    bits, error = nats.mean() / (length * math.log(2)), nats.std(ddof=1) / math.sqrt(len(nats))
    entry = {"nats": nats.mean(), "standard_error": error, "bits_per_token": bits, "length": length}
    entry["bits_per_token_standard_error"] = error / (length * math.log(2))
    report = {
        "scored": scored,
        "unit": unit,
        "split": "val",
        "entropy": None,
        "estimates": {"own_nelbo": entry},
    } | report
    return Record(
        "outputs/a", report, provenance={"data": {"name": scored}}, values={"own_nelbo": nats}
    )


def test_gains():
    """The gain is in the table's unit, above 0 for the better run, and the exact difference."""
    random = np.random.default_rng(0)
    worse, better = random.normal(20, 1, 40), random.normal(19, 1, 40)
    baseline, run = scored(worse), scored(better)
    unit = unit_among(run, [baseline])
    assert unit == "bits_per_token"
    told = gain(baseline, run, "own_nelbo", unit)
    assert told.startswith("+")
    above = [float(cell(r.report, "own_nelbo", unit).split()[0]) for r in (baseline, run)]
    assert float(told.split()[0]) == pytest.approx(above[0] - above[1], abs=1.1e-4)
    error = (worse - better).std(ddof=1) / math.sqrt(40) / (8 * math.log(2))
    assert float(told.split()[2]) == pytest.approx(error, abs=1e-4)
    assert gain(run, baseline, "own_nelbo", unit).startswith("-")
    assert gain(baseline, scored(better, "b"), "own_nelbo", unit) == "-"
    nats = gain(scored(worse, unit="column"), scored(better, unit="column"), "own_nelbo", "nats")
    assert (
        nats
        == f"{(worse - better).mean():+.3f} ± {(worse - better).std(ddof=1) / math.sqrt(40):.3f}"
    )


def test_the_table_of_a_run_with_a_partner():
    """What train.py prints: the baseline first, one unit, a gain above 0 for the better model."""
    random = np.random.default_rng(0)
    reports = {}
    for name, mean in (("fixed", 20), ("learned", 18)):
        values = {key: torch.from_numpy(random.normal(mean, 1, 50)) for key in LABELS}
        estimates = {key: Estimate.over(value, 8) for key, value in values.items()}
        reports[name] = LikelihoodReport(8, 27, "char", None, estimates, {}, values=values)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report_table(reports, "title", paired=True))
    lines = console.export_text().splitlines()
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    heading = next(line for line in lines if "bits per char" in line)
    assert re.search(r"bits per char.*fixed.*learned.*gain", heading)
    for row, key in zip(shown, LABELS, strict=True):
        better = (reports["fixed"].values[key] - reports["learned"].values[key]) / (8 * math.log(2))
        assert row[0] == LABELS[key]
        assert row[3] == f"{better.mean():+.4f} ± {better.std() / math.sqrt(50):.4f}"
        assert row[3].startswith("+")


def test_what_may_be_compared():
    values = np.arange(9.0)
    runs = {
        "one": scored(values),
        "two": scored(values),
        "rows": scored(values, "b", "column"),
        "short": scored(values, "c"),
    }
    assert not_comparable({name: runs[name] for name in ("one", "two")}) is None
    line = not_comparable(runs)
    assert len(line.splitlines()) == 1
    assert line == (
        "not comparable with one on val of 'a', in bits per char, because "
        "their data are others: rows on val of 'b', in nats per row; "
        "short on val of 'c', in bits per char"
    )
    assert [unit_among(r, runs.values()) for r in runs.values()] == [
        "bits_per_token",
        "bits_per_token",
        "nats",
        "bits_per_token",
    ]
    same = scored(values, "d")
    same.provenance["data"]["name"] = "a"
    assert "because they were scored on other sequences: two on val of 'a'" in not_comparable(
        {"one": runs["one"], "two": same}
    )
    old = [scored(values, None), scored(values, None)]
    assert comparable(*old)
    old[1].provenance["data"]["name"] = "z"
    assert not comparable(*old), "reports without a checksum are told apart by their data"


def test_names_of_runs_differ():
    one = {"seed": 0, "optimizer": {"lr": 0.1}}
    runs = [record("outputs/A/1", one), record("outputs/A/2", one | {"optimizer": {"lr": 0.2}})]
    assert labels(runs) == ["lr 0.1", "lr 0.2"]
    assert labels([record("outputs/A/1", one), record("outputs/A/2", one)]) == ["1", "2"]
    long = [record(f"outputs/A/{i}", one | {f"part{i}_{k}": i for k in range(9)}) for i in range(2)]
    told = labels(long)
    assert told[0].startswith("part0_0 0, part0_1 0, "), "what differs, not the folder"
    assert told[1].startswith("part0_0 -, part0_1 -, ")
    assert max(map(len, told)) <= 48
    part = one | {"schedule": {"_target_": "ordo.schedules.Linear"}, "a_setting": "x" * 30}
    learned = part | {"schedule": {"_target_": "ordo.schedules.Power"}, "a_setting": "y" * 30}
    both = [record("a/1", part | {"seed": 1}), record("a/2", learned | {"seed": 2})]
    assert labels(both) == ["seed 1, schedule Linear", "seed 2, schedule Power"], "parts first"
    twice = [record("a/x", one), record("a/y", one), record("a/z", one | {"seed": 3})]
    assert labels(twice) == ["seed 0 (x)", "seed 0 (y)", "seed 3"]
    assert labels([record("outputs/A/x", one), record("outputs/B/x", one)]) == ["A/x", "B/x"]


def test_units():
    estimates = {
        "own_nelbo": {
            "nats": 3.0,
            "nats_above_entropy": 1.0,
            "standard_error": 0.5,
            "bits_per_token": 2.0,
        }
    }
    estimates["own_nelbo"]["bits_per_token_standard_error"] = 0.25
    known, table, text = (
        {"entropy": e, "unit": u, "estimates": estimates}
        for e, u in ((2.0, "token"), (None, "column"), (None, "char"))
    )
    assert [unit_of([r]) for r in (known, table, text)] == [
        "nats_above_entropy",
        "nats",
        "bits_per_token",
    ]
    assert unit_of([known, text]) == "bits_per_token"
    shown = [cell(r, "own_nelbo", unit_of([r])) for r in (known, table, text)]
    assert shown == ["1.000 ± 0.500", "3.000 ± 0.500", "2.0000 ± 0.2500"]


def test_durations():
    assert [duration(s) for s in (4.21, 59.96, 200, 7500)] == [
        "4.2 s",
        "60.0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
