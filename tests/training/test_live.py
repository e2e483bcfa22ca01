"""What loggers get while a run goes on: pictures, samples with ranks, names of positions."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import NAE, run

from ordo import plots
from ordo.data import NotAllEqual, SudokuData, TableData, TaskData
from ordo.data.module import Batch
from ordo.denoisers import BidirectionalTransformer
from ordo.likelihood.orders import Static, order_loss
from ordo.order import PlackettLuce
from ordo.training import pictures
from ordo.training.pictures import rank_text, sampled_loss_by_revealed

NAMES = {"order", "schedule", "order_over_training", "loss_by_revealed", "gradient_signal"}
SAMPLES = ["callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 2}"]
PLAN = [
    *NAE,
    "schedule=power_table",
    "steps=4",
    "validate_every=2",
    "callbacks.order.every=2",
    "callbacks.gradient.every=2",
    *SAMPLES,
]


def test_tensorboard_has_pictures_and_samples(tmp_path, pictures):
    run(tmp_path / "run", *PLAN, "logger=tensorboard")
    events = EventAccumulator(
        str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0, "tensors": 0}
    )
    events.Reload()
    assert set(events.Tags()["images"]) == NAMES
    for name in NAMES:
        assert [event.step for event in events.Images(name)] == [2, 4], name
        with Image.open(tmp_path / "run" / "pictures" / f"{name}.png") as picture:
            logged = events.Images(name)[-1]
            assert (logged.width, logged.height) == picture.size or name not in (
                "schedule",
                "loss_by_revealed",
            )
    (tag,) = (tag for tag in events.Tags()["tensors"] if tag.startswith("samples"))
    texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)]
    lines = (tmp_path / "run" / "samples.txt").read_text().splitlines()
    assert len(lines) == 4
    for i, line in enumerate(lines):
        step, text, rank = line.split("\t")
        assert step == f"step {(2, 2, 4, 4)[i]}"
        assert text in texts[i // 2]
        assert rank in texts[i // 2]
        assert sorted(map(int, rank.removeprefix("rank ").split())) == list(range(1, 7)), (
            "every position once"
        )


class Recorder:
    """Takes what W&B's logger takes."""

    def __init__(self):
        self.images, self.texts = [], []

    def log_image(self, key, images, step):
        self.images.append((key, images, step))

    def log_text(self, key, columns, data, step):
        self.texts.append((key, columns, data, step))


def test_wandb_gets_the_files_with_the_step(tmp_path):
    recorder = Recorder()
    pictures.log_picture(
        [recorder, object()],
        "order",
        plots.schedule_curves([0, 1], [[0.0], [1.0]]),
        7,
        tmp_path / "new" / "a.png",
    )
    assert recorder.images == [("order", [str(tmp_path / "new" / "a.png")], 7)]
    assert (tmp_path / "new" / "a.png").is_file()
    pictures.log_samples([recorder, object()], "samples", ["ab", "cd"], ["1 2", "2 1"], 7)
    assert recorder.texts == [("samples", ["text", "rank"], [["ab", "1 2"], ["cd", "2 1"]], 7)]


def test_no_pictures_if_not_wanted(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures.plots, "save", lambda figure, path: drawn.append(path.name))
    run(tmp_path / "run", *PLAN, "callbacks.order.pictures=false")
    assert sorted(drawn) == ["order.png", "order_over_training.png"], "those of the end"
    run(tmp_path / "without", *PLAN, "callbacks.order=null", "callbacks.gradient.pictures=false")
    assert len(drawn) == 2
    assert (tmp_path / "without" / "gradient_signal.npz").is_file()


def test_ranks_are_shown_from_1():
    assert rank_text(torch.tensor([2, -1, 0, 1])) == "3 - 1 2"


@pytest.mark.parametrize("kind", ["all", "known", "lengths"])
def test_sampled_loss_agrees_with_that_of_whole_orders(kind):
    """A bidirectional denoiser: one number of revealed tokens a row, against every rank of drawn
    orders; both are means over draws.
    """
    length, n = 5, 4
    torch.manual_seed(0)
    net = BidirectionalTransformer(vocab_size=3, length=length, width=16, heads=2, layers=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # sharp enough that ranks differ
    law = PlackettLuce(torch.tensor([2.0, -1.0, 0.0, 1.0, -2.0]))
    tokens = torch.randint(3, (n, length), generator=torch.Generator().manual_seed(1))
    known = torch.tensor([[False, True, False, False, True]] * n) if kind == "known" else None
    lengths = torch.full((n,), 4) if kind == "lengths" else None
    batch = Batch(tokens, known, lengths)
    numbers, losses = sampled_loss_by_revealed(
        net, Static(law), batch.repeat(15000), torch.Generator().manual_seed(2), 60
    )
    many = batch.repeat(2000)
    orders = law.sample(len(many.tokens), torch.Generator().manual_seed(3))
    by_rank = order_loss(net, many, orders).by_revealed
    for k in range({"all": 5, "known": 3, "lengths": 4}[kind]):
        mine = losses[numbers == k].mean().item()
        error = by_rank[:, k].std().item() / math.sqrt(2000 * n) + by_rank[
            :, k
        ].std().item() / math.sqrt((numbers == k).sum().item() * 1000)
        assert mine == pytest.approx(by_rank[:, k].mean().item(), abs=4 * error), k


def test_names_of_positions(tmp_path):
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0] * 40, "colour": ["red", "blue", "red"] * 40})
    table = TableData(frame=frame, batch_size=4)
    table.prepare_data()
    table.setup("fit")
    assert table.labels == ["age", "colour"]
    task = NotAllEqual(n_latents=3, n_observations=2)
    labels = TaskData(task).labels
    assert labels is not None
    assert [labels[i] for i in task.columns] == [
        "latent 0",
        "latent 1",
        "latent 2",
        "observation 0",
        "observation 1",
    ]
    assert SudokuData(box=2, clues=(4, 6)).labels[6] == "row 2, column 3"
    seen = {}
    original = plots.order_heatmap
    try:
        plots.order_heatmap = lambda p, labels: (
            seen.setdefault("labels", labels) and original(p, labels)
        )
        schedule: Any = SimpleNamespace(law=lambda: PlackettLuce(torch.zeros(5)))
        pictures.order_picture(schedule, torch.Generator().manual_seed(0), labels)
    finally:
        plots.order_heatmap = original
    assert seen["labels"] == labels
    assert np.unique(labels).size == 5
