"""Streams against documents read and cut by hand.

They are resumed at any moment, on any number of ranks, with and without a worker.
"""

import io
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ordo.data import Batch, DataError

LENGTH, FILES, EACH = 12, 4, 60
SPLITS = {"train": "train[40:]", "validation": "train[:20]", "test": "train[20:40]"}


def text(file, i):
    return "" if i % 17 == 5 else f"{file}.{i} the fox " + "x" * (i % 9)


@pytest.fixture
def stream(tmp_path, monkeypatch, tokenizer, corpus_data):
    monkeypatch.setattr("ordo.data.text.shards.READ", 13)
    (tmp_path / "text").mkdir()
    for k in range(FILES):
        table = pa.table({"n": list(range(EACH)), "text": [text(k, i) for i in range(EACH)]})
        pq.write_table(table, tmp_path / "text" / f"{k}.parquet", row_group_size=25)
    settings = {
        "splits": SPLITS,
        "length": LENGTH,
        "batch_size": 8,
        "streaming": True,
        "shuffle_buffer": 50,
        "seed": 3,
    }

    def make(**changes):
        data = corpus_data("text", **(settings | changes))
        data.prepare_data()
        data.setup()
        return data

    return make, tokenizer


def encoded(tokenizer, texts):
    return [
        [*tokenizer(t, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for t in texts
        if t.strip()
    ]


def content(batch):
    """Rows without their padding."""
    batch = Batch.of(batch)
    if batch.lengths is None:
        return batch.tokens.tolist()
    return [row[:n] for row, n in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True)]


def take(rows, n, first=0):
    return [row for step in range(first, first + n) for row in content(rows.__getitems__([step]))]


def epoch_of(tokenizer, order):
    """All training documents in an order of files; the first 40 of the first file are held out."""
    return encoded(tokenizer, [text(k, i) for k in order for i in range(40 if k == 0 else 0, EACH)])


def test_nothing_is_lost_or_doubled_and_files_change_their_order(stream):
    make, tokenizer = stream
    data = make(layout="documents", shuffle_buffer=1, batch_size=1)
    one = len(epoch_of(tokenizer, range(FILES)))
    rows, orders = data.train_rows(0, 1), []
    for epoch in range(4):
        seen = take(rows, one, one * epoch)
        orders += [
            o
            for o in itertools.permutations(range(FILES))
            if [d[:LENGTH] for d in epoch_of(tokenizer, o)] == seen
        ]
    assert len(orders) == 4, "every epoch is all documents in an order of files"
    assert len(set(orders)) > 1
    packed = make(shuffle_buffer=1, batch_size=2)
    joined = [
        token for order in orders for document in epoch_of(tokenizer, order) for token in document
    ]
    steps = len(joined) // (2 * LENGTH)
    assert [t for row in take(packed.train_rows(0, 1), steps) for t in row] == joined[
        : steps * 2 * LENGTH
    ], "across files and epochs"


@pytest.mark.parametrize("layout", ["packed", "documents"])
def test_the_buffer_only_changes_the_order(stream, layout):
    make, _ = stream
    plain = take(make(layout=layout, shuffle_buffer=1).train_rows(0, 1), 120)
    rows = make(layout=layout).train_rows(0, 1)
    mixed = take(rows, 40)
    held = rows.state_dict()["buffer"]
    held = [row[:n].tolist() for row, n in zip(held[0], held[1], strict=True)]
    assert sorted(mixed + held) == sorted(plain[: len(mixed) + len(held)])
    assert mixed != plain[: len(mixed)]
    unique = {str(row): i for i, row in enumerate(plain[:200])}
    far = [abs(unique[str(row)] - i) for i, row in enumerate(mixed[:100]) if str(row) in unique]
    assert sum(far) / len(far) > 15, "of a buffer of 50"
    other = take(make(layout=layout, seed=4).train_rows(0, 1), 5)
    assert other != mixed[: len(other)]


def saved(state):
    """As a checkpoint holds it: loaded without executing code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("layout", "buffer"), [("packed", 50), ("documents", 50), ("documents", 3)]
)
def test_resumes_exactly(stream, layout, buffer):
    """Killed again and again, over ends of files and of epochs."""
    make, _ = stream
    settings = {"layout": layout, "shuffle_buffer": buffer}
    whole = take(make(**settings).train_rows(0, 1), 90)
    rows, seen, at = make(**settings).train_rows(0, 1), [], 0
    for steps in (0, 1, 1, 4, 13, 2, 29, 40):
        seen += take(rows, steps, at)
        at += steps
        state = saved(rows.state_dict())
        if steps % 2:
            take(rows, 3, at)  # steps that no checkpoint has seen
        rows = make(**settings).train_rows(0, 1)
        rows.load_state_dict(state)
    assert seen == whole
    assert rows.state_dict()["epoch"] >= 2


def test_a_step_is_a_function_of_its_number(stream):
    make, _ = stream
    rows = make().train_rows(0, 1)
    batches = [rows.__getitems__([step]) for step in range(6)]
    assert torch.equal(make().train_rows(0, 1).__getitems__([5]), batches[5]), "forward"
    assert torch.equal(rows.__getitems__([2]), batches[2]), "and back"


def test_ranks_share_the_batch_and_the_state_has_none(stream):
    make, _ = stream
    single = make(batch_size=8, layout="documents").train_rows(0, 1)
    whole = [single.__getitems__([step]) for step in range(12)]
    parts = [make(batch_size=2, layout="documents").train_rows(rank, 4) for rank in range(4)]
    for step in range(6):
        for rank, rows in enumerate(parts):
            batch = rows.__getitems__([step])
            assert torch.equal(batch.tokens, whole[step].tokens[rank::4])
            assert torch.equal(batch.lengths, whole[step].lengths[rank::4])
    state = saved(parts[0].state_dict())
    for rank in range(2):
        rows = make(batch_size=4, layout="documents").train_rows(rank, 2)
        rows.load_state_dict(state)
        assert torch.equal(rows.__getitems__([6]).tokens, whole[6].tokens[rank::2])
    sampler = make(batch_size=8).train_sampler(0, 1)
    make(batch_size=2).train_sampler(3, 4).load_state_dict(sampler.state_dict())
    for changes in ({"batch_size": 4}, {"shuffle_buffer": 51}, {"seed": 4}):
        with pytest.raises(DataError, match="cannot resume the training batches"):
            make(**changes).train_sampler(0, 1).load_state_dict(sampler.state_dict())


WORKER = pytest.param(1, marks=pytest.mark.slow)  # starts Python anew, seconds each


@pytest.mark.parametrize("num_workers", [0, WORKER])
def test_the_loader_resumes(stream, num_workers):
    make, _ = stream
    whole = take(make(layout="documents").train_rows(0, 1), 60)
    loader = make(layout="documents", num_workers=num_workers).train_dataloader()
    batches, seen = iter(loader), []
    for _ in range(53):  # past the worker's snapshot of step 50
        seen += content(next(batches))
    state = saved(loader.state_dict())
    del batches
    resumed = make(layout="documents", num_workers=num_workers).train_dataloader()
    resumed.load_state_dict(state)
    batches = iter(resumed)
    for _ in range(7):
        batch = next(batches)
        assert isinstance(batch, Batch)
        seen += content(batch)
    assert seen == whole


def test_held_out_documents(stream):
    """Evaluation sequences are the first of their documents, across files; none is trained on."""
    make, tokenizer = stream
    everything = [text(k, i) for k in range(FILES) for i in range(EACH)]
    for layout in ("packed", "documents"):
        splits = {"train": "train[150:]", "validation": "train[:70]", "test": "train[70:150]"}
        data = make(layout=layout, splits=splits, limit_eval=1000)
        for rows, documents in (
            (data.val_set, everything[:70]),
            (data.test_set, everything[70:150]),
        ):
            want = encoded(tokenizer, documents)
            flat = [t for document in want for t in document]
            if layout == "packed":
                assert rows.tokens.flatten().tolist() == flat[: len(flat) // LENGTH * LENGTH]
            else:
                assert content(rows.batch(torch.arange(len(rows)))) == [d[:LENGTH] for d in want]
        few = make(layout=layout, splits=splits, limit_eval=5)
        assert torch.equal(few.test_set.tokens, data.test_set.tokens[:5])
    trained = take(
        make(layout="documents", splits=splits, batch_size=1, shuffle_buffer=1).train_rows(0, 1), 84
    )
    allowed = [d[:LENGTH] for d in encoded(tokenizer, everything[150:])]
    assert all(row in allowed for row in trained)
    assert len({str(row) for row in trained}) == len(allowed)


def test_streams_and_caches_have_the_same_sequences(stream):
    make, _ = stream
    for layout in ("packed", "documents"):
        whole = dict.fromkeys(SPLITS, "train")
        cached = make(streaming=False, layout=layout, splits=whole, limit_eval=None)
        streamed = make(layout=layout, splits=whole, limit_eval=10_000)
        assert torch.equal(cached.val_set.tokens, streamed.val_set.tokens)
        batches = [cached.train_rows(0, 1).__getitems__([i]) for i in range(len(cached.val_set))]
        assert [row for batch in batches for row in content(batch)] == content(
            streamed.val_set.batch(torch.arange(len(streamed.val_set)))
        )


def test_bad_settings(stream, tmp_path):
    make, _ = stream
    for changes, told in (
        ({"limit_eval": None}, "limit_eval=None"),
        ({"num_workers": 2}, "num_workers=2"),
        (
            {"splits": SPLITS | {"train": "train[:98%]"}},
            r"only whole splits and parts in documents are known: set data\.splits=",
        ),
        ({"splits": SPLITS | {"test": "dev"}}, "Bad split: dev"),
        ({"splits": SPLITS | {"train": "train[1000:]"}}, "no document there"),
        ({"column": "body"}, "no column 'body'; it has n, text"),
        ({"length": 10_000}, "not one sequence of length=10000"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            make(**changes)
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("num_workers", [0, WORKER])
def test_a_file_that_breaks_off_is_named(stream, tmp_path, num_workers):
    """In the middle of an epoch, after good batches; never a silent end."""
    make, _ = stream
    for name in ("2", "3"):
        content_ = bytearray((tmp_path / "text" / f"{name}.parquet").read_bytes())
        content_[200:700] = bytes(500)
        (tmp_path / "text" / f"{name}.parquet").write_bytes(content_)
    batches = iter(
        make(shuffle_buffer=1, batch_size=1, num_workers=num_workers, seed=1).train_dataloader()
    )
    with pytest.raises(DataError, match=r"^/.*[23]\.parquet: reading broke off \(.*resume=RUN$"):  # noqa: PT012
        for _ in range(1000):
            next(batches)


def test_nothing_to_read_ends(stream, tmp_path):
    make, _ = stream
    for k in range(1, FILES):
        (tmp_path / "text" / f"{k}.parquet").unlink()
    path = tmp_path / "text" / "0.parquet"
    pq.write_table(pa.table({"text": [text(0, i) for i in range(40)] + ["", "  ", None] * 5}), path)
    with pytest.raises(DataError, match="not one document with text that fits length=12"):
        make().train_rows(0, 1).__getitems__([0])


def test_changed_files_are_another_stream(stream, tmp_path):
    make, _ = stream
    before = make().train_sampler(0, 1).state_dict()
    make().train_sampler(0, 1).load_state_dict(before)
    pq.write_table(
        pa.table({"n": [1], "text": ["a new file of the same name"]}),
        tmp_path / "text" / "2.parquet",
    )
    with pytest.raises(DataError, match="cannot resume the training batches"):
        make().train_sampler(0, 1).load_state_dict(before)
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"text": text(0, i)}) + "\n" for i in range(EACH))
    )
    assert make(source=str(tmp_path / "c.jsonl")).describe()["stream"]["files"] == 1
