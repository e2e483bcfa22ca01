"""Runs of train.py in miniature, whose pages the tests read."""

import numpy as np
import pandas as pd
import pytest
from tiny_runs import call

TINY = [
    "data.batch_size=4",
    "steps=4",
    "validate_every=2",
    "threads=1",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "callbacks.order.every=1",
]
TINY += ["callbacks.order.pictures=false"]  # those of training are no claim here
TINY += ["denoiser.width=16", "denoiser.heads=2", "denoiser.layers=1", "optimizer.schedule_delay=0"]
TINY += ["report.sequences=12", "report.draws=1", "report.importance_draws=2", "report.orders=3"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A text run with a partner, a table run and a Sudoku run, by train.py."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 60, 300),
            "city": random.choice(["x", "<y>"], 300),
            "gain": random.lognormal(size=300),
        }
    )
    frame.to_csv(folder / "my.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        capture = type("Capture", (), {"readouterr": staticmethod(lambda: ("", ""))})
        status = [
            call("train.py", *TINY, *own, monkeypatch=patch, capfd=capture)[0]
            for own in (
                [f"output={folder / 'text'}", "data.length=8"],
                [
                    "experiment=table_learned_order",
                    f"data.path={folder / 'my.csv'}",
                    f"output={folder / 'table'}",
                    "report.samples=120",
                ],
                [
                    "experiment=sudoku_4x4",
                    "data.bank=4",
                    "data.eval_size=12",
                    f"output={folder / 'sudoku'}",
                    "report.samples=100",
                    "report.picture_formats=[png,svg,pdf]",
                ],
            )
        ]
    assert status == [0, 0, 0]
    return folder
