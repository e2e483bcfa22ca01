"""Molecules from train.py to ordo sample: what is reported, and what a checkpoint alone says
of its tokens.
"""

import json

import pytest
from tiny_runs import call

TINY = [
    "steps=4",
    "checkpoint_every=2",
    "validate_every=2",
    "threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
]
TINY += [
    "denoiser.width=16",
    "denoiser.heads=2",
    "denoiser.layers=1",
    "report.sequences=8",
    "report.draws=1",
    "report.importance_draws=1",
]
TINY += ["report.exact_sequences=2", "report.orders=0", "report.samples=100", "data.batch_size=8"]


@pytest.mark.parametrize(
    ("experiment", "sampler"),
    [
        ("qm9_smiles_learned_order", "sampler=first_hitting"),
        pytest.param("qm9_smiles_lomdm", "sampler=first_hitting", marks=pytest.mark.slow),
    ],
)
def test_from_training_to_samples(experiment, sampler, tmp_path, monkeypatch, capfd):
    file, folder = tmp_path / "m.csv", tmp_path / "run"
    file.write_text(
        "smiles\n" + "".join(f"{'C' * n}{end}\n" for n in range(1, 30) for end in ("O", "N", "Cl"))
    )

    def ran(script, *arguments):
        status, out, err = call(script, *arguments, monkeypatch=monkeypatch, capfd=capfd)
        assert status == 0, err
        return out

    out = ran(
        "train.py", f"experiment={experiment}", f"data.path={file}", f"output={folder}", *TINY
    )
    assert "nats per molecule" in out
    report = json.loads((folder / "report.json").read_text())
    assert 0 < report["sample_quality"]["molecules"]["distinct_strings"] <= 1
    assert len((folder / "drawn.txt").read_text().split("\n")) == 101, (
        "a molecule a line, one without atoms too"
    )
    assert "SMILES" in (folder / "report.html").read_text()
    file.unlink()
    ran(
        "ordo sample",
        f"checkpoint={folder}",
        sampler,
        "n=5",
        f"out={tmp_path / 's.txt'}",
        "threads=1",
        f"trace={tmp_path / 's.html'}",
    )
    lines = (tmp_path / "s.txt").read_text().splitlines()
    assert len(lines) == 5
    assert set("".join(lines)) <= set("CONl·"), "by the checkpoint's own vocabulary"
    ran("ordo export", f"checkpoint={folder}", f"out={tmp_path / 'model'}")
    ran(
        "ordo sample",
        f"checkpoint={tmp_path / 'model'}",
        sampler,
        "n=5",
        f"out={tmp_path / 'again.txt'}",
        "threads=1",
    )
    assert (tmp_path / "again.txt").read_text().splitlines() == lines
    status, _, err = call(
        "ordo sample",
        f"checkpoint={folder}",
        f"out={tmp_path / 't.txt'}",
        "template=CC_",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert status == 2
    assert "template is for text and Sudokus" in err
