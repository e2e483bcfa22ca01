"""``SequenceData.of``: rows in memory, data sets and loaders of torch."""

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.data import DataError, SequenceData
from ordo.settings import SettingError

torch.set_num_threads(1)
ROWS = torch.from_numpy(np.random.default_rng(0).integers(0, 7, (103, 5)))
ROWS[:, 0] = torch.arange(103)  # every row is another one


def lines(*parts):
    return sorted(tuple(row) for part in parts for row in part.long().tolist())


class Listed(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(ROWS)


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        ROWS.to(torch.uint8),
        ROWS.numpy(),
        ROWS.numpy().astype(">i4"),
        ROWS.tolist(),
        list(ROWS),
        Listed(ROWS.tolist()),
        Listed(list(ROWS.numpy())),
        TensorDataset(ROWS),
    ],
    ids=["tensor", "uint8", "array", "big-endian", "lists", "tensors", "set", "arrays", "wrapped"],
)
def test_rows_are_set_aside_and_none_is_lost(source):
    data = SequenceData.of(source, seed=3)
    assert (data.length, data.vocab_size) == (5, 103)
    assert (len(data.train_set), len(data.val_set)) == (98, 5), "5% of 103 rows"
    assert lines(data.train_set.tokens, data.val_set.tokens) == lines(ROWS)
    again = SequenceData.of(ROWS, seed=3)
    assert torch.equal(data.val_set.tokens, again.val_set.tokens), "a function of the seed"
    other = SequenceData.of(ROWS, seed=4)
    assert lines(other.val_set.tokens) != lines(data.val_set.tokens)
    assert torch.equal(data.test_set.tokens, data.val_set.tokens)
    assert data.describe()["test_is_validation"]


def test_rows_of_your_own_splits():
    data = SequenceData.of(
        ROWS[:60], ROWS[60:80], ROWS[80:].tolist(), vocab_size=200, batch_size=8, eval_batch_size=3
    )
    assert data.vocab_size == 200
    for mine, theirs in (
        (data.train_set, ROWS[:60]),
        (data.val_set, ROWS[60:80]),
        (data.test_set, ROWS[80:]),
    ):
        assert torch.equal(mine.tokens.long(), theirs)
    assert not data.describe()["test_is_validation"]
    batches = list(data.train_dataloader())
    assert [batch.shape for batch in batches] == [(8, 5)] * 7
    assert batches[0].dtype == torch.int64
    assert len(lines(*batches)) == len(set(lines(*batches))) == 56
    assert set(lines(*batches)) < set(lines(ROWS[:60]))
    assert torch.equal(torch.cat(list(data.val_dataloader())), ROWS[60:80])
    assert data.decode(torch.tensor([[3, 200, 10, 0, 1]])) == ["3 _ 10 0 1"]
    largest = SequenceData.of(ROWS[:10], ROWS[:10], ROWS)
    assert largest.vocab_size == 103, "of all splits"


def test_rows_are_copied():
    rows = ROWS.to(torch.int16)
    data = SequenceData.of(rows, rows)
    rows[0, 0] = 50
    assert int(data.train_set.tokens[0, 0]) == 0


def test_two_rows_are_enough_and_one_is_not():
    data = SequenceData.of([[0, 1], [1, 0]])
    assert len(data.train_set) == len(data.val_set) == 1
    with pytest.raises(DataError, match="train has 1 row: give two at least, or val"):
        SequenceData.of([[0, 1]])


def test_a_loader_gives_its_batches_as_they_come():
    loader = DataLoader(TensorDataset(ROWS[:20].to(torch.int32)), batch_size=6)
    data = SequenceData.of(loader, ROWS[20:], vocab_size=103, batch_size=64)
    batches = data.train_dataloader()
    assert len(batches) == 4
    for _ in range(2):
        found = list(batches)
        assert [len(batch) for batch in found] == [6, 6, 6, 2]
        assert all(batch.dtype == torch.int64 for batch in found)
        assert torch.equal(torch.cat(found), ROWS[:20])
    assert data.describe()["sequences"]["train"] is None, "nobody has counted them"
    stream = SequenceData.of(DataLoader(Stream(), batch_size=10), ROWS, vocab_size=103)
    assert torch.equal(torch.cat(list(stream.train_dataloader())), ROWS)
    read = SequenceData.of(ROWS, DataLoader(Stream(), batch_size=10))
    assert torch.equal(read.val_set.tokens.long(), ROWS)


class Steps(L.LightningModule):
    """Counts what Lightning hands on."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, _):
        self.seen += batch[:, 0].tolist()
        return self.weight * 1.0

    def validation_step(self, batch, _):
        self.seen.append(-len(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def fitted(data, tmp_path, path=None, steps=4):
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        **options,
    )
    steps = Steps()
    trainer.fit(steps, datamodule=data, ckpt_path=path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return steps.seen


def test_lightning_takes_a_loader_and_only_a_stateful_one_goes_on(tmp_path):
    def data(kind):
        loader = kind(TensorDataset(ROWS[:50]), batch_size=10)
        return SequenceData.of(loader, ROWS[:4], vocab_size=103)

    assert fitted(data(DataLoader), tmp_path, steps=3) == list(range(30))
    with pytest.raises(DataError, match="cannot go on from a checkpoint with a DataLoader"):
        fitted(data(DataLoader), tmp_path, tmp_path / "last.ckpt")
    assert fitted(data(StatefulDataLoader), tmp_path, steps=3) == list(range(30))
    gone_on = fitted(data(StatefulDataLoader), tmp_path, tmp_path / "last.ckpt", steps=5)
    assert gone_on[:20] == list(range(30, 50))


def test_a_loader_is_not_for_several_processes(monkeypatch):
    data = SequenceData.of(DataLoader(TensorDataset(ROWS)), ROWS, vocab_size=103)
    monkeypatch.setattr(data, "ranks", lambda: (0, 2))
    with pytest.raises(DataError, match="gives every process the same batches"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (ROWS.double(), "train rows: ids are whole numbers, and these are values of float64"),
        (ROWS.bfloat16(), "train rows: ids are whole numbers, and these are values of float"),
        (ROWS.numpy() + np.nan, "some of them NaN"),
        (ROWS > 3, "train rows: ids are whole numbers, and these are values of bool"),
        (ROWS - 1, "row 0, position 0 has the id -1: ids are whole numbers from 0"),
        (ROWS * 10**5, "row 10, position 0 has the id 1000000: ids go up to 999999"),
        (ROWS[0], r"the shape is \(5,\), and ids have two dimensions"),
        (ROWS[None], r"the shape is \(1, 103, 5\)"),
        (ROWS[:0], r"there are no ids, the shape is \(0, 5\)"),
        (ROWS[:, :0], "there are no ids"),
        ([], "there are no ids"),
        ([[1, 2], [3]], "row 1 has length 1, and row 0 length 2: rows must be of equal length"),
        ([[1, 2], [3, None]], "these are Python objects"),
        ([[1, [2]]], "row 0 holds something else than numbers"),
        ([["a", "b"]], "these are values of <U1"),
        ("ab", "str is no array of ids"),
        ({"a": 1}, "dict is no array of ids"),
        (3, ": int is no array of ids"),
        (Stream(), "put it into a DataLoader"),
        (Listed([{"ids": [1, 2]}, {"ids": [1, 2]}]), "these are Python objects"),
        (DataLoader(TensorDataset(ROWS)), "give val"),
    ],
)
def test_errors_of_rows(train, message):
    with pytest.raises(DataError, match=message) as caught:
        SequenceData.of(train)
    assert "\n" not in str(caught.value)


def test_errors_of_several():
    with pytest.raises(DataError, match="outside of vocab_size=7: ids are 0 to 6"):
        SequenceData.of(ROWS, vocab_size=7)
    with pytest.raises(DataError, match=r"validation rows: row 7, position 0 has the id 7"):
        SequenceData.of(ROWS[:7], ROWS, vocab_size=7)
    with pytest.raises(DataError, match=r"these have 5 \(train\), 4 \(validation\)"):
        SequenceData.of(ROWS, ROWS[:, :4])
    loader = DataLoader(TensorDataset(ROWS), batch_size=10)
    with pytest.raises(DataError, match="give vocab_size"):
        SequenceData.of(loader, ROWS)
    for wrong, message in (
        ({"vocab_size": 50}, "batch 5 of the DataLoader: row 0, position 0 has the id 50"),
        ({"vocab_size": 103, "val": ROWS[:50, :4]}, "batch 0 of the DataLoader: the shape is"),
    ):
        data = SequenceData.of(loader, **({"val": ROWS[:50]} | wrong))
        with pytest.raises(DataError, match=message):
            list(data.train_dataloader())
    with pytest.raises(DataError, match="batches must be"):
        SequenceData.of(ROWS, DataLoader(Listed([[1, 2], [3, 4], [5, 6]]), batch_size=2))
    for setting in ({"batch_size": 0}, {"seed": -1}, {"vocab_size": 0}, {"vocab_size": 2.5}):
        with pytest.raises(SettingError, match=next(iter(setting))):
            SequenceData.of(ROWS, **setting)
