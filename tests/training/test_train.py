"""train.py from the command line: the quickstart with its comparison, and a benchmark that measures
with it.
"""

import json
import subprocess
import sys

import pandas as pd
import pytest
from news import news_file
from tiny_runs import ROOT, call

from ordo.runs import load

SHORT = [
    "steps=6",
    "validate_every=3",
    "checkpoint_every=3",
    "optimizer.schedule_delay=2",
    "threads=1",
    "trainer.accelerator=cpu",
]
SHORT += [
    "report.sequences=32",
    "report.draws=2",
    "report.importance_draws=2",
    "data.batch_size=8",
    "trainer.enable_progress_bar=false",
]


def test_quickstart_sets_two_models_side_by_side(tmp_path, monkeypatch, capfd):
    status, out, err = call(
        "train.py", f"output={tmp_path / 'run'}", *SHORT, monkeypatch=monkeypatch, capfd=capfd
    )
    assert (status, err) == (0, "")
    assert "fixed random order" in out
    assert "learned order" in out
    assert f"to look at: {tmp_path / 'run'}" in out.replace("\n", "")
    reports = {}
    for label, folder in (
        ("learned order", tmp_path / "run"),
        ("fixed random order", tmp_path / "run" / "compared_with"),
    ):
        report = reports[label] = json.loads((folder / "report.json").read_text())
        for estimate in report["estimates"].values():
            bits, error = (estimate[f"bits_per_token{x}"] for x in ("", "_standard_error"))
            assert f"{bits:.4f} ± {error:.4f}" in out, label
        for name in (
            "report.html",
            "pictures/order.png",
            "pictures/order_over_training.png",
            "pictures/order_nll.png",
            "samples.txt",
            "config.yaml",
            "provenance.json",
        ):
            assert (folder / name).is_file(), name
    fixed = reports["fixed random order"]["estimates"]
    assert fixed["own_nelbo"]["nats"] == pytest.approx(fixed["uniform_nelbo"]["nats"], rel=1e-6), (
        "its own law is the uniform one"
    )
    learned, other = load(tmp_path / "run")[0], load(tmp_path / "run" / "compared_with")[0]
    assert type(other.schedule).__name__ == "Linear"
    assert sum(p.numel() for p in learned.denoiser.parameters()) == sum(
        p.numel() for p in other.denoiser.parameters()
    )


# These need no process of their own, as those that measure memory do.
HERE = ("nae", "text", "structure", "tables", "variance", "estimators", "content")


@pytest.mark.slow  # every benchmark runs and ends with one JSON object
def test_benchmarks_run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog " * 400)
    (tmp_path / "news").mkdir()
    news_file(tmp_path / "news" / "OnlineNewsPopularity.csv", 400)
    (tmp_path / "m.smi").write_text(
        "".join(f"{'C' * n}{end}\n" for n in range(1, 40) for end in ("O", "N", "F"))
    )
    small = ["denoiser.width=16", "denoiser.layers=1", "denoiser.heads=2", "data.bins=16"]
    commands = {
        "nae": (["--kinds", "dense=1", "time"], {"dense", "time"}),
        "text": (
            ["--text8", text, "--runs", "fixed_dense", "network_order", "l2r_dense"],
            {"fixed_dense", "network_order", "l2r_dense"},
        ),
        "structure": (
            ["--seeds", "1"],
            {"fixed", "learned", "topological", "reverse", "stability", "entropy"},
        ),
        "throughput": ([], {"ordo", "reference", "peak_mib", "device"}),
        "tables": (
            ["--data", tmp_path, "--sets", "news", "--draws", "2", "--override", *small],
            {"news"},
        ),
        "variance": ([], {"time", "order", "dense", "rows", "on"}),
        "estimators": (["--text8", text], {"results", "rows", "repeats"}),
        "content": (
            [
                "--text8",
                text,
                "--seeds",
                "1",
                "--runs",
                "fixed_order",
                "per_context_order",
                "per_context_base_dense",
            ],
            {"per_context_order"},
        ),
        "law_cost": (
            ["--variants", "fixed_order", "per_context_order", "posterior_dense"],
            {"relative_time", "relative_memory"},
        ),
        "oracle": ([], {"samplers", "profile"}),
        "sampling": ([], {"grid", "throughput", "cache", "memory_mib"}),
        "quality": (
            ["--task", "nae", "--models", "learned", "--picture", tmp_path / "q.png"],
            {"models", "entropy"},
        ),
        "sudoku": (["--box", "2", "--calls", "4", "--kinds", "learned"], {"learned", "box"}),
        "star_graph": (
            ["--kinds", "left_to_right", "mdm", "order_posterior_dense", "lomdm"],
            {"setting", "mdm", "lomdm"},
        ),
        "two_orders": (
            ["--n-half", "3", "--kinds", "table_dense", "random_order", "order_posterior"],
            {"best_static", "kinds"},
        ),
        "two_orders --task two_ways": (
            ["--kinds", "table_dense", "order_posterior_dense"],
            {"best_static", "kinds"},
        ),
        "steps": (
            ["--variants", "mdlm", "order"],
            {"ratio", "memory_ratio", "parts", "utilisation"},
        ),
        "pace": (["--text8", text, "--seeds", "1", "--length", "16"], {"target", "runs"}),
        "molecules": (
            [
                "--smiles",
                tmp_path / "m.smi",
                "--runs",
                "fixed_order",
                "position_dense",
                "context_order",
            ],
            {"runs", "data", "steps"},
        ),
        "tokenise": (
            ["--text", text, "--batch", "2"],
            {"ordo", "map_processes", "stream", "faster_than_map_processes"},
        ),
    }
    for name, (arguments, keys) in commands.items():
        asked = [*name.split(), "--quick", "--work", tmp_path / "work", *arguments]
        if name in HERE:
            status, out, err = call(
                "scripts/benchmark.py", *asked, monkeypatch=monkeypatch, capfd=capfd
            )
        else:
            command = [sys.executable, ROOT / "scripts" / "benchmark.py", *asked]
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, timeout=300
            )
            status, out, err = done.returncode, done.stdout, done.stderr
        assert status == 0, (name, err)
        assert keys <= set(json.loads(out.splitlines()[-1])), name


@pytest.mark.slow  # all six runs of a set, the tables and the pictures
def test_reproduce_paper_runs(tmp_path, monkeypatch, capfd):
    """A second call does no run again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news").mkdir()
    news_file(tmp_path / "news" / "OnlineNewsPopularity.csv", 400)
    asked = ["--quick", "--data", tmp_path, "--sets", "news", "--seeds", "1"]
    asked += ["--work", tmp_path / "paper"]
    for repeated in (False, True):
        status, out, err = call(
            "scripts/reproduce_paper.py", *asked, monkeypatch=monkeypatch, capfd=capfd
        )
        assert status == 0, err
        assert ("taken from" in err) == repeated
        assert ("left" in err) != repeated
    out = json.loads(out.splitlines()[-1])
    assert len(out["results"]) == 6
    assert {c["objective"] for c in out["comparisons"]} == {"time", "order", "dense"}
    work = tmp_path / "paper_quick"
    assert len(pd.read_csv(work / "results.csv")) == 6
    assert "| news | time |" in (work / "tables.md").read_text()
    assert len(list(work.glob("schedules_news_*.png"))) == 3
