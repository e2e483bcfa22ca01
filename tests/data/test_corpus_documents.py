"""One document a sequence, from the same cache: every token against the tokenizer's own."""

import json
import pickle

import numpy as np
import pytest
import torch

from ordo.data import Batch, DataError
from ordo.data.text.sequences import Cutter, DocumentRows, PackedRows, rows_of
from ordo.data.text.token_cache import open_or_build
from ordo.settings import SettingError

DOCUMENTS = [f"{i} fox " + "x" * (i % 23 + 1) for i in range(100)] + ["", "  "]
LENGTH = 16
SPLITS = {"train": "train[:60%]", "validation": "train[60%:80%]", "test": "train[80%:]"}


@pytest.fixture
def corpus(tmp_path, tokenizer, corpus_data):
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for d in DOCUMENTS))
    settings = {"splits": SPLITS, "length": LENGTH, "batch_size": 4, "layout": "documents"}

    def make(**changes):
        data = corpus_data("c.jsonl", **(settings | changes))
        data.setup()
        return data

    return make, tokenizer


def by_hand(tokenizer, documents):
    return [
        [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for text in documents
        if text.strip()
    ]


@pytest.mark.parametrize("longer", ["cut", "drop"])
def test_a_document_is_a_sequence(corpus, longer):
    make, tokenizer = corpus
    data = make(longer=longer, limit_eval=None)
    splits = {"train": DOCUMENTS[:61], "validation": DOCUMENTS[61:82], "test": DOCUMENTS[82:]}
    for name, rows in (
        ("train", data.train_rows(0, 1)),
        ("validation", data.val_set),
        ("test", data.test_set),
    ):
        whole = by_hand(tokenizer, splits[name])
        want = [d[:LENGTH] for d in whole if longer == "cut" or len(d) <= LENGTH]
        batch = rows.__getitems__(list(range(len(rows))))
        assert isinstance(batch, Batch)
        assert batch.tokens.dtype == batch.lengths.dtype == torch.int64
        assert batch.lengths.tolist() == [len(d) for d in want]
        assert batch.tokens.tolist() == [d + [0] * (LENGTH - len(d)) for d in want]
        assert data.describe()["longer_documents"][name] == sum(len(d) > LENGTH for d in whole) > 0
    n = len(data.train_rows(0, 1))
    again = data.train_rows(0, 1).__getitems__([5, n + 5])
    assert torch.equal(again.tokens[0], again.tokens[1]), (
        "numbers of rows are taken modulo how many there are"
    )
    seen = [
        row
        for batch in data.train_dataloader()
        for row in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True)
    ]
    assert len(seen) == n // 4 * 4
    assert len({str(row) for row in seen}) == len(seen), "an epoch has each document once"


def test_the_cache_is_that_of_packed_sequences(corpus, tmp_path):
    make, _ = corpus
    make(layout="packed")
    folders = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("c-*")}
    make()
    make(longer="drop", length=13)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("c-*")} == folders


def test_length_above_every_document(corpus):
    make, _ = corpus
    data = make(length=5000)
    assert set(data.describe()["longer_documents"].values()) == {0}
    assert data.val_set.lengths.max() < 60


def test_masks_at_the_end_are_not_shown(corpus):
    make, tokenizer = corpus
    data = make()
    ids, mask = tokenizer(" fox")["input_ids"], data.vocab_size
    row = [mask, *ids, mask, *ids, mask, mask]
    assert data.decode(torch.tensor([row, [mask] * len(row)])) == ["_ fox_ fox", ""]


def test_checkpoints_say_what_a_sequence_is(corpus):
    make, _ = corpus
    packed, cut, drop = make(layout="packed"), make(), make(longer="drop")
    old = {
        name: value
        for name, value in packed.state_dict().items()
        if name not in ("layout", "longer")
    }
    packed.load_state_dict(old)
    packed.load_state_dict(packed.state_dict() | {"longer": "drop"})  # means nothing there
    with pytest.raises(DataError, match=r"layout=packed.*layout=documents.*: layout differ"):
        cut.load_state_dict(old)
    with pytest.raises(DataError, match=r"longer=cut.*longer=drop.*: longer differ"):
        drop.load_state_dict(cut.state_dict())


def test_bad_choices(corpus):
    make, _ = corpus
    for changes, told in (
        ({"layout": "sentences"}, "must be packed or documents"),
        ({"longer": "split"}, "must be cut or drop"),
    ):
        with pytest.raises(SettingError, match=told):
            make(**changes)
    with pytest.raises(
        DataError, match="none of 61 documents fits, fewer than one sequence of length=2"
    ):
        make(longer="drop", length=2)


@pytest.mark.parametrize("layout", ["packed", "documents"])
@pytest.mark.parametrize("longer", ["cut", "drop"])
@pytest.mark.parametrize("length", [1, 3, 8, 50])
def test_batches_of_documents_give_the_sequences_of_the_cache(
    layout, longer, length, tmp_path, monkeypatch
):
    """Two ways to the same sequences; some documents have no token, and few are read at a time."""
    monkeypatch.setattr("ordo.data.text.sequences.CHUNK", 7)
    rng = np.random.default_rng(length)
    documents = [rng.integers(1, 90_000, size=rng.integers(0, 12)) for _ in range(60)]
    batches = [documents[i : i + 9] for i in range(0, 60, 9)]
    encoded = [(np.concatenate(b), np.array([len(d) for d in b])) for b in batches]
    rows = rows_of(open_or_build(tmp_path / "c", 90_000, encoded, {}), length, layout, longer)
    assert isinstance(rows, PackedRows if layout == "packed" else DocumentRows)
    cutter = Cutter(length, layout, longer, 90_000)
    parts = [cutter(*batch) for batch in encoded]
    tokens, lengths = (np.concatenate(x) for x in zip(*parts, strict=True))
    assert len(tokens) == len(rows)
    if len(rows):
        batch = rows.batch(np.arange(len(rows)))
        assert tokens.tolist() == batch.tokens.tolist()
        assert (
            lengths.tolist()
            == (np.full(len(rows), length) if batch.lengths is None else batch.lengths).tolist()
        )
    kept = [d for d in documents if len(d) and (longer == "cut" or len(d) <= length)]
    flat = [int(t) for d in documents for t in d]
    want = (
        [flat[i : i + length] for i in range(0, len(flat) - length + 1, length)]
        if layout == "packed"
        else [d[:length] for d in kept]
    )
    assert [row[:n].tolist() for row, n in zip(tokens, lengths, strict=True)] == [
        list(map(int, d)) for d in want
    ]


def test_other_processes_open_the_files(tmp_path):
    """Pickled, rows are the name of their folder, not the tokens in it."""
    cache = open_or_build(tmp_path / "c", 100, [(np.arange(100_000) % 100, np.full(1000, 100))], {})
    for rows in (
        PackedRows(cache, 64),
        DocumentRows(cache, 64, "cut"),
        DocumentRows(cache, 100, "drop"),
    ):
        told = pickle.dumps(rows)
        assert len(told) < 1000
        again = pickle.loads(told)
        assert len(again) == len(rows)
        assert torch.equal(
            again.batch(np.array([7, 3])).tokens, rows.batch(np.array([7, 3])).tokens
        )
