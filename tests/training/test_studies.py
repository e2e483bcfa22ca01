"""Every study of benchmarks/ and the paper's experiment, in a quick form: a study ends with one
JSON object.
"""

import json
import subprocess
import sys

import pandas as pd
import pytest
from news import news_file
from tiny_runs import ROOT, call

pytestmark = pytest.mark.slow  # up to two minutes each
SMALL = ["denoiser.width=16", "denoiser.layers=1", "denoiser.heads=2", "data.bins=16"]
# The study -> arguments, and keys of its result.
STUDIES = {
    "nae": (["--kinds", "dense=1", "time"], {"dense", "time"}),
    "text": (
        ["--text8", "text", "--runs", "fixed_dense", "network_order", "l2r_dense"],
        {"fixed_dense", "network_order", "l2r_dense"},
    ),
    "structure": (
        ["--seeds", "1"],
        {"fixed", "learned", "topological", "reverse", "stability", "entropy"},
    ),
    "throughput": ([], {"ordo", "reference", "peak_mib", "device"}),
    "tables": (
        ["--data", ".", "--sets", "news", "--draws", "2", "--override", *SMALL],
        {"news"},
    ),
    "variance": ([], {"time", "order", "dense", "rows", "on"}),
    "estimators": (["--text8", "text"], {"results", "rows", "repeats"}),
    "content": (
        [
            "--text8",
            "text",
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
    "calls": ([], {"calls", "settings"}),
    "oracle": ([], {"samplers", "profile"}),
    "sampling": ([], {"grid", "throughput", "cache", "memory_mib"}),
    "quality": (
        ["--task", "nae", "--models", "learned", "--picture", "q.png"],
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
    "pace": (["--text8", "text", "--seeds", "1", "--length", "16"], {"target", "runs"}),
    "molecules": (
        [
            "--smiles",
            "m.smi",
            "--runs",
            "fixed_order",
            "position_dense",
            "context_order",
        ],
        {"runs", "data", "steps"},
    ),
    "tokenise": (
        ["--text", "text", "--batch", "2"],
        {"ordo", "map_processes", "stream", "faster_than_map_processes"},
    ),
}

# The other studies measure memory or threads, and need a process of their own.
HERE = ("nae", "text", "structure", "tables", "variance", "estimators", "content")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("the quick brown fox jumps over the lazy dog " * 400)
    (tmp_path / "news").mkdir()
    news_file(tmp_path / "news" / "OnlineNewsPopularity.csv", 400)
    (tmp_path / "m.smi").write_text(
        "".join(f"{'C' * n}{end}\n" for n in range(1, 40) for end in ("O", "N", "F"))
    )
    arguments, keys = STUDIES[name]
    asked = [*name.split(), "--quick", "--work", "work", *arguments]
    if name in HERE:
        status, out, err = call(
            "scripts/benchmark.py", *asked, monkeypatch=monkeypatch, capfd=capfd
        )
    else:
        command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *asked]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        status, out, err = done.returncode, done.stdout, done.stderr
    assert status == 0, err
    assert keys <= set(json.loads(out.splitlines()[-1]))


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
