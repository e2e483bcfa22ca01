"""train.py from the command line: the quickstart with its comparison."""

import json

import pytest
from tiny_runs import call

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
