"""A run that is killed and resumed has the batches of a run that was not; ranks share one order."""

import os
from itertools import islice

import lightning as L
import pytest
import torch

from ordo.data import DataError, NotAllEqual, StepBatchSampler, StepSampler, TaskData, TextData

torch.set_num_threads(1)


def take(loader, n):
    """n batches, through as many passes as it takes."""
    out = []
    while len(out) < n:
        out += list(islice(loader, n - len(out)))
    return out


def text(tmp_path, **changes):
    path = tmp_path / "text.txt"
    path.write_text("".join(chr(97 + (i * i // 7) % 26) for i in range(1500)))
    data = TextData(source="file", path=str(path), length=10, batch_size=16, seed=3, **changes)
    data.setup("fit")
    return data


def task(tmp_path, **changes):
    data = TaskData(
        NotAllEqual(4, 5), batches_per_epoch=8, eval_size=10, batch_size=16, seed=3, **changes
    )
    data.setup("fit")
    return data


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("n", "batch"), [(103, 4), (96, 4), (5, 4), (3, 4)])
def test_ranks_deal_out_one_global_permutation(n, batch, drop_last):
    world = 3
    whole = StepBatchSampler(n, batch * world, 7, drop_last=drop_last)
    parts = [StepBatchSampler(n, batch, 7, rank, world, drop_last) for rank in range(world)]
    for step in range(2 * len(whole) + 1):
        dealt = [part.rows(step) for part in parts]
        assert sorted(whole.rows(step)) == sorted(row for rows in dealt for row in rows)
        assert [rows[0] for rows in dealt] == whole.rows(step)[:world]


def test_epoch_is_a_permutation_and_epochs_differ():
    sampler = StepBatchSampler(40, 8, 0)
    epochs = [[row for batch in sampler for row in batch] for _ in range(3)]
    assert all(sorted(row % 40 for row in epoch) == list(range(40)) for epoch in epochs)
    assert len({tuple(row % 40 for row in epoch) for epoch in epochs}) == 3
    # Numbers are never reused, so crops are never repeated
    assert len({row for epoch in epochs for row in epoch}) == 120


def test_wraps_around_when_the_data_fill_no_batch():
    (batch,) = list(StepBatchSampler(3, 8, 0))
    assert len(batch) == 8
    assert {row % 3 for row in batch} == {0, 1, 2}
    assert len(set(batch)) == 8
    assert len(StepBatchSampler(10, 4, 0, drop_last=False)) == 3
    assert len(StepBatchSampler(10, 4, 0)) == 2


def test_dropped_iterators_lose_nothing():
    sampler = StepSampler(3)
    iter(sampler)
    sampler.load_state_dict({"step": 4, "taken": 1, "identity": {"steps": 3}})
    iter(sampler)
    assert list(sampler) == [[4], [5]]
    assert list(sampler) == [[6], [7], [8]]


def test_resume_with_another_batch_size_is_refused():
    saved = StepBatchSampler(10, 2, 0).state_dict()
    with pytest.raises(DataError, match=r"global_batch_size.*resume with the same"):
        StepBatchSampler(10, 4, 0).load_state_dict(saved)
    # The same global batch on two ranks
    StepBatchSampler(10, 1, 0, rank=1, world_size=2).load_state_dict(saved)


@pytest.mark.parametrize("arguments", [(0, 1, 0), (1, 0, 0), (1, 1, 0, 2, 2)])
def test_bad_sampler_arguments(arguments):
    with pytest.raises(DataError):
        StepBatchSampler(*arguments)
    with pytest.raises(DataError, match="at least one batch"):
        StepSampler(0)


@pytest.mark.parametrize("make", [text, task])
@pytest.mark.parametrize("stop", [0, 3, 8, 11, 16])
def test_loader_resumes_bitwise_across_epochs(make, stop, tmp_path):
    steps = len(make(tmp_path).train_dataloader())
    assert steps == 8
    expected = take(make(tmp_path).train_dataloader(), 20)
    assert all(
        batch.dtype == torch.int64 and batch.shape == expected[0].shape for batch in expected
    )
    assert not torch.equal(expected[0], expected[8])

    killed = make(tmp_path).train_dataloader()
    seen = take(killed, stop)
    resumed = make(tmp_path).train_dataloader()
    resumed.load_state_dict(killed.state_dict())
    seen += take(resumed, 20 - stop)
    assert all(map(torch.equal, seen, expected))


def test_loader_resumes_with_workers(tmp_path):
    expected = take(text(tmp_path).train_dataloader(), 10)
    killed = text(tmp_path, num_workers=1).train_dataloader()
    seen, batches = [], iter(killed)
    for _ in range(5):
        seen.append(next(batches))
    state = killed.state_dict()
    del batches
    resumed = text(tmp_path, num_workers=1).train_dataloader()
    resumed.load_state_dict(state)
    seen += take(resumed, 5)
    assert all(map(torch.equal, seen, expected))


class Recorder(L.LightningModule):
    def __init__(self, kill_after=None, save_to=None, save_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen, self.kill_after, self.save_to, self.save_at = [], kill_after, save_to, save_at

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        return self.layer(batch.float().mean().view(1)).sum()

    def validation_step(self, batch, batch_idx):
        assert batch.ndim == 2

    def on_train_batch_end(self, *_):
        if len(self.seen) == self.save_at:
            self.trainer.save_checkpoint(self.save_to)
        if len(self.seen) == self.kill_after:
            raise KeyboardInterrupt

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit(model, data, tmp_path, ckpt=None, **changes):
    trainer = L.Trainer(
        **{
            "accelerator": "cpu", "devices": 1, "max_steps": 20, "logger": False,
            "enable_checkpointing": False, "enable_progress_bar": False,
            "enable_model_summary": False, "use_distributed_sampler": False,
            "default_root_dir": tmp_path, "num_sanity_val_steps": 1, **changes,
        }
    )  # fmt: skip
    trainer.fit(model, datamodule=data, ckpt_path=ckpt)
    return model


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("make", [text, task])
@pytest.mark.parametrize("save_at", [3, 8, 13])
def test_trainer_resumes_bitwise(make, save_at, tmp_path):
    expected = fit(Recorder(), make(tmp_path), tmp_path).seen
    assert len(expected) == 20
    plain = take(make(tmp_path).train_dataloader(), 20)
    # Lightning neither skips nor repeats at epoch ends
    assert all(map(torch.equal, expected, plain))

    ckpt = os.fspath(tmp_path / "last.ckpt")
    killed = Recorder(kill_after=save_at + 2, save_to=ckpt, save_at=save_at)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(killed, make(tmp_path), tmp_path)
    resumed = fit(Recorder(), make(tmp_path), tmp_path, ckpt).seen
    assert len(resumed) == 20 - save_at
    assert all(map(torch.equal, resumed, expected[save_at:]))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_passes_cut_short_go_through_all_batches(tmp_path):
    seen = fit(Recorder(), task(tmp_path), tmp_path, limit_train_batches=3, max_steps=12).seen
    assert all(map(torch.equal, seen, take(task(tmp_path).train_dataloader(), 12)))


def test_evaluation_sets_are_split_between_ranks(tmp_path, monkeypatch):
    data = task(tmp_path, eval_batch_size=4)
    whole = torch.cat(list(data.val_dataloader()))
    assert [len(batch) for batch in data.val_dataloader()] == [4, 4, 2]
    train = next(iter(data.train_dataloader()))
    parts, trains = [], []
    for rank in range(2):
        monkeypatch.setattr(TaskData, "ranks", lambda self, rank=rank: (rank, 2))
        data = task(tmp_path, eval_batch_size=4)
        data.batch_size = 8
        parts.append(torch.cat(list(data.val_dataloader())))
        trains.append(next(iter(data.train_dataloader())))
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)
    assert torch.equal(torch.stack(trains, 1).flatten(0, 1), train)
    for world_size, share in (
        (3, 3),
        (4, 2),
        (16, 1),
    ):  # of 10 sequences: a rank with a batch more would wait for the others for ever
        for rank in range(world_size):
            monkeypatch.setattr(
                TaskData, "ranks", lambda self, rank=rank, world_size=world_size: (rank, world_size)
            )
            data = task(tmp_path, eval_batch_size=1)
            assert len(list(data.val_dataloader())) == share
