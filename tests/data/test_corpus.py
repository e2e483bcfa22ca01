"""Corpora, all offline: every token against the tokenizer's own, and clear errors.

Caches are killed, shared and damaged.
"""

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from tiny_tokenizer import tiny_tokenizer

from ordo.data import DataError, MissingDataError
from ordo.data.text.sequences import DocumentRows, PackedRows
from ordo.data.text.token_cache import TokenCache, open_or_build

CONFIGS = Path(__file__).resolve().parents[2] / "src" / "ordo" / "configs"
DOCUMENTS = [f"the quick fox {i} jumps over {'the lazy dog ' * (i % 4)}" for i in range(120)] + [
    "",
    "   ",
    "last one é ☃",
]
SPLITS = {"train": "train[:80%]", "validation": "train[80%:90%]", "test": "train[90%:]"}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    # The variable is read when it is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))


@pytest.fixture
def corpus(tmp_path, tokenizer, corpus_data):
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"text": d, "n": i}) + "\n" for i, d in enumerate(DOCUMENTS))
    )
    settings = {"splits": SPLITS, "length": 16, "batch_size": 4}
    return lambda **changes: corpus_data("c.jsonl", **(settings | changes)), tokenizer


def by_hand(tokenizer, documents, begin=(), end=()):
    out = []
    for text in documents:
        if text.strip():
            out += [*begin, *tokenizer(text, add_special_tokens=False)["input_ids"], *end]
    return out


def test_tokens_are_those_of_the_tokenizer(corpus):
    make, tokenizer = corpus
    data = make()
    data.setup()
    n = len(DOCUMENTS)
    parts = {
        "train": DOCUMENTS[: round(0.8 * n)],
        "validation": DOCUMENTS[round(0.8 * n) : round(0.9 * n)],
        "test": DOCUMENTS[round(0.9 * n) :],
    }
    for name, documents in parts.items():
        want = by_hand(tokenizer, documents, end=[tokenizer.eos_token_id])
        cache = data.caches[name]
        assert cache.tokens.tolist() == want
        assert cache.tokens.dtype == np.uint16
        assert len(cache.ends) == sum(bool(d.strip()) for d in documents)
        assert (cache.tokens[cache.ends.astype(int) - 1] == tokenizer.eos_token_id).all()
    rows = data.train_rows(0, 1)
    whole = torch.tensor(by_hand(tokenizer, parts["train"], end=[tokenizer.eos_token_id]))
    assert torch.equal(rows.__getitems__(list(range(len(rows)))).flatten(), whole[: len(rows) * 16])
    batch = next(iter(data.train_dataloader()))
    assert batch.shape == (4, 16)
    assert data.vocab_size == len(tokenizer) > int(batch.max())
    text = data.decode(data.test_set.tokens)
    assert "the quick fox" in "".join(text)
    masked = torch.cat(
        [
            torch.tensor(tokenizer(" fox")["input_ids"]),
            torch.tensor([data.vocab_size] * 2),
            torch.tensor(tokenizer(" dog")["input_ids"]),
        ]
    )
    assert data.decode(masked[None]) == [" fox__ dog"]


def test_what_a_tokenizer_file_says_of_cutting_and_padding_is_not_done(corpus, tmp_path):
    make, tokenizer = corpus
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=10)
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    data = make(end=None)
    data.setup()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    assert data.caches["test"].tokens.tolist() == by_hand(
        tokenizer, DOCUMENTS[round(0.9 * len(DOCUMENTS)) :]
    )


def test_a_mask_token_written_out_is_text(corpus, tmp_path):
    """A model with that mask could not tell it from a masked position.

    Other special tokens that are written out stay what they are.
    """
    make, _ = corpus
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer", mask=True)
    text = ["a <mask> in a text", "an <eos> in a text", "both: <mask> <eos>"] * 20
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in text))
    data = make(source=str(tmp_path / "m.jsonl"), splits=dict.fromkeys(SPLITS, "train"), end=None)
    data.setup()
    ids = data.caches["train"].tokens.tolist()
    assert tokenizer.mask_token_id not in ids
    assert tokenizer.decode(ids) == "".join(text)
    assert ids.count(tokenizer.eos_token_id) == 20, "of the second; the third is text throughout"


def test_text_files_are_kept_as_they_are(corpus, tmp_path):
    make, tokenizer = corpus
    text = "a line\n\n  another line\nthe last\n" * 40
    (tmp_path / "book.txt").write_text(text)
    data = make(source=str(tmp_path / "book.txt"), splits=dict.fromkeys(SPLITS, "train"))
    data.setup()
    assert data.caches["train"].tokens.tolist() == by_hand(
        tokenizer, [text], end=[tokenizer.eos_token_id]
    )
    assert len(data.caches["train"].ends) == 1


@pytest.mark.parametrize(
    "name", ["wikitext2", "wikitext103", "lm1b", "lm1b_sentences", "openwebtext", "fineweb_edu"]
)
def test_the_named_data_sets(name, tmp_path, monkeypatch):
    """Their own begin, end and splits. What the hub is asked for is checked, and answered here."""
    tiny_tokenizer(tmp_path / "tokenizer")
    asked = []

    def load_dataset(source, config, revision, split):
        asked.append((source, config, revision, split))
        return datasets.Dataset.from_dict({"text": DOCUMENTS})

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(
            overrides=[
                "+seed=0",
                f"+data={name}",
                f"data.tokenizer={tmp_path / 'tokenizer'}",
                f"data.cache_dir={tmp_path / 'c'}",
                "data.length=16",
            ]
        ).data
    data = instantiate(config)
    data.setup()
    assert [split for *_, split in asked] == list(config.splits.values())
    assert {question[:3] for question in asked} == {(config.source, config.config, config.revision)}
    assert config.revision is None or config.config is None, (
        "the branch of converted files has no names of configurations"
    )
    ids = data.caches["train"].tokens.tolist()
    for token, at in ((config.begin, 0), (config.end, int(data.caches["train"].ends[0]) - 1)):
        assert token is None or ids[at] == getattr(data.tokenizer, f"{token}_token_id")


def test_begin_and_end_and_what_a_cache_depends_on(corpus, tmp_path):
    make, tokenizer = corpus
    first = make()
    first.setup()
    folders = set((tmp_path / "cache").glob("c-train-*"))
    longer = make(length=32)
    longer.setup()
    assert set((tmp_path / "cache").glob("c-train-*")) == folders, "not on the length"
    both = make(begin="bos", end="<eos>")
    both.setup()
    assert both.caches["test"].tokens[0] == tokenizer.bos_token_id
    neither = make(end=None)
    neither.setup()
    assert tokenizer.eos_token_id not in neither.caches["train"].tokens
    tiny_tokenizer(tmp_path / "tokenizer", vocab_size=270)
    other = make()
    other.setup()
    assert len(list((tmp_path / "cache").glob("c-train-*"))) == 4
    with pytest.raises(DataError, match="tokenizer_fingerprint differ"):
        other.load_state_dict(first.state_dict())
    with pytest.raises(DataError, match="begin differ"):
        both.load_state_dict(
            other.state_dict()
            | {"tokenizer_fingerprint": first.state_dict()["tokenizer_fingerprint"], "end": "<eos>"}
        )
    limited = make(limit_eval=2)
    limited.setup()
    assert len(limited.val_set) == 2


def test_errors(corpus, tmp_path):
    make, _ = corpus
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.txt").write_text("x")
    (tmp_path / "mixed" / "b.jsonl").write_text("{}")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    for changes, told in (
        ({"column": "body"}, "no column 'body'; it has text, n"),
        ({"splits": SPLITS | {"test": "dev"}}, "dev"),
        ({"splits": {"train": "train"}}, "splits must name"),
        ({"begin": "<x>"}, "begin=<x>: the tokenizer has no such token"),
        ({"length": 100_000}, "fewer than one sequence"),
        ({"source": str(tmp_path / "mixed")}, "files of one kind"),
        ({"source": str(tmp_path / "broken.jsonl")}, "broken.jsonl"),
        ({"tokenizer": str(tmp_path / "none")}, "no tokenizer"),
        ({"source": "somebody/nothing"}, "no data set 'somebody/nothing'"),
    ):
        with pytest.raises(DataError, match=told.replace("[", r"\[")) as caught:
            make(**changes).setup()
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(MissingDataError):
        make(tokenizer="somebody/nothing").setup()


def batches(n, pause=0.0, seen=None):
    """n batches of 50 documents; document i has 1 + i % 5 tokens of id i % 100."""
    for start in range(0, 50 * n, 50):
        if seen is not None:
            seen.append(start)
        time.sleep(pause)
        documents = [np.full(1 + i % 5, i % 100) for i in range(start, start + 50)]
        yield np.concatenate(documents), np.array([len(document) for document in documents])


def check_whole(cache, n):
    assert len(cache.ends) == 50 * n
    assert cache.tokens.tolist() == [i % 100 for i in range(50 * n) for _ in range(1 + i % 5)]


def test_killed_at_any_moment(tmp_path):
    """SIGKILL leaves no cache or a whole one, and the next build ends well; 20 times."""
    for attempt in range(20):
        folder = tmp_path / f"c{attempt}"
        child = os.fork()
        if child == 0:
            open_or_build(folder, 100, batches(20, 0.001), {})
            os._exit(0)
        time.sleep(0.002 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if folder.exists():
            check_whole(TokenCache(folder), 20)
        check_whole(open_or_build(folder, 100, batches(20), {}), 20)
        assert not list(tmp_path.glob("*.partial"))


def build(folder, queue):
    seen = []
    open_or_build(folder, 100, batches(30, 0.003, seen), {})
    queue.put(len(seen))


def wait_and_be_interrupted(folder):
    try:
        open_or_build(folder, 100, batches(1), {})
    except KeyboardInterrupt:
        os._exit(5)


def test_an_interrupted_waiter_harms_nobody(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    builder = context.Process(target=build, args=(tmp_path / "c", queue))
    builder.start()
    while not list(tmp_path.glob("*.partial")):
        time.sleep(0.001)
    waiter = context.Process(target=wait_and_be_interrupted, args=(tmp_path / "c",))
    waiter.start()
    time.sleep(0.03)
    os.kill(waiter.pid, signal.SIGINT)
    waiter.join()
    builder.join()
    assert builder.exitcode == 0
    check_whole(TokenCache(tmp_path / "c"), 30)


def test_two_builders_at_once(tmp_path):
    """One builds, the other waits and reads."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    both = [context.Process(target=build, args=(tmp_path / "c", queue)) for _ in range(2)]
    for process in both:
        process.start()
    counts = sorted(queue.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    assert counts == [0, 30]
    check_whole(TokenCache(tmp_path / "c"), 30)


def test_damage_is_named(tmp_path):
    open_or_build(tmp_path / "c", 100, batches(2), {})
    with open(tmp_path / "c" / "tokens.bin", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"tokens\.bin has .* delete the folder"):
        TokenCache(tmp_path / "c")
    (tmp_path / "c" / "about.json").write_text("{")
    with pytest.raises(DataError, match="no whole token cache"):
        TokenCache(tmp_path / "c")
    with pytest.raises(DataError, match="outside of its 50 ids"):
        open_or_build(tmp_path / "d", 50, batches(2), {})
    assert not list(tmp_path.glob("*d*")) or [p.name for p in tmp_path.glob("*d*")] == [
        ".d.lock"
    ], "nothing half-written"


def test_full_disk(tmp_path):
    """A limit on the size of files stands for it: one error, and nothing is left."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            open_or_build(tmp_path / "c", 100, batches(20), {})
        except DataError as error:
            os._exit(7 if "free the disk" in str(error) and not (tmp_path / "c").exists() else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert [p.name for p in tmp_path.iterdir()] == [".c.lock"]


def test_ten_million_documents_open_at_once(tmp_path):
    """10 billion tokens in a sparse file; every document a sequence too."""
    folder = tmp_path / "c"
    folder.mkdir()
    documents, tokens = 10_000_000, 10_000_000_000
    (folder / "about.json").write_text(
        json.dumps({"tokens": tokens, "documents": documents, "dtype": "uint16"})
    )
    with open(folder / "tokens.bin", "wb") as file:
        file.truncate(2 * tokens)
    with open(folder / "ends.bin", "wb") as file:
        for first in range(1, documents, 1_000_000):
            (np.arange(first, first + 1_000_000, dtype=np.uint64) * 1000).tofile(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    cache = TokenCache(folder)
    packed, single = PackedRows(cache, 1024), DocumentRows(cache, 1024)
    assert (len(packed), len(single)) == (tokens // 1024, documents)
    assert packed.__getitems__([len(packed) - 1]).sum() == 0
    assert single.__getitems__([documents - 1]).lengths.tolist() == [1000]
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB"
