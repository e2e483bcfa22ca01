"""What can be wrong with a corpus, cached or streamed: one line names the thing and the mend."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import OfflineModeIsEnabled

from ordo.data import DataError, MissingDataError

TEXTS = [f"the fox {i}" for i in range(60)]
SPLITS = {False: {"train": "train[:80%]", "validation": "train[80%:90%]", "test": "train[90%:]"}}
SPLITS[True] = {"train": "train[20:]", "validation": "train[:10]", "test": "train[10:20]"}


@pytest.fixture
def make(tmp_path, corpus_data):
    (tmp_path / "c").mkdir()

    def make(streaming, **changes):
        settings = {
            "splits": SPLITS[streaming],
            "length": 8,
            "streaming": streaming,
            "batch_size": 2,
            "shuffle_buffer": 2,
        }
        data = corpus_data("c", **(settings | changes))
        data.setup()
        for step in range(100 if streaming else 1):  # a stream finds out when it gets there
            data.train_rows(0, 1).__getitems__([step])
        return data

    return make


def told(make, streaming, kind=DataError, **changes):
    with pytest.raises(kind) as caught:
        make(streaming, **changes)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


HUB = [
    (
        DatasetNotFoundError(
            "Dataset 'a/b' is a gated dataset on the Hub. You must be authenticated to access it."
        ),
        ["'a/b'", "gated", "hf auth login"],
    ),
    (
        DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub or cannot be accessed."),
        ["'a/b'", "doesn't exist", "data.source"],
    ),
    (
        ConnectionError("Couldn't reach 'a/b' on the Hub (ConnectTimeout)"),
        ["'a/b'", "cannot be reached", "try again on a network"],
    ),
    (
        OfflineModeIsEnabled("Cannot reach a/b: offline mode is enabled."),
        ["'a/b'", "cannot be reached", "HF_HUB_OFFLINE"],
    ),
    (
        ValueError("Config name is missing.\nPlease pick one among: ['x', 'y']"),
        ["a/b", "['x', 'y']", "set data.config"],
    ),
    (
        ValueError("Unknown split \"train\". Should be one of ['dev']."),
        ["a/b", "one of ['dev']", "data.splits="],
    ),
    (RuntimeError(""), ["'a/b'", "RuntimeError"]),
]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("error", "words"), HUB, ids=[type(e).__name__ + str(i) for i, (e, _) in enumerate(HUB)]
)
def test_the_hub(make, monkeypatch, streaming, error, words):
    def fails(*_, **__):
        raise error

    for name in ("load_dataset", "load_dataset_builder"):
        monkeypatch.setattr(datasets, name, fails)
    kind = DataError if isinstance(error, ValueError) else MissingDataError
    message = told(make, streaming, kind, source="a/b")
    assert all(word in message for word in words), message


def damage(folder, kind):
    """A good file and a bad one, by name in this order; returns the bad one's path."""
    good, bad = folder / f"a.{kind}", folder / f"b.{kind}"
    if kind == "jsonl":
        lines = [json.dumps({"text": t}) + "\n" for t in TEXTS]
        good.write_text("".join(lines))
        bad.write_text("".join(lines) + '{"text": \n' + lines[0])
    elif kind == "txt":
        good.write_text("\n".join(TEXTS))
        bad.write_bytes(b"the fox \xff\xfe jumps")
    else:
        for path in (good, bad):
            pq.write_table(pa.table({"text": TEXTS * 20}), path)
        whole = bytearray(bad.read_bytes())
        if kind == "parquet":
            whole[50:400] = bytes(350)
        bad.write_bytes(whole)
    return bad


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
def test_damaged_files_are_named(make, tmp_path, kind, streaming):
    bad = damage(tmp_path / "c", kind)
    splits = (
        SPLITS[streaming]
        if kind != "txt" or not streaming
        else {"train": "train", "validation": "train[:1]", "test": "train[:1]"}
    )
    message = told(make, streaming, splits=splits)
    assert str(bad) in message, message
    assert "mend" in message


def test_a_parquet_file_cut_short(make, tmp_path):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "c" / "a.parquet")
    whole = (tmp_path / "c" / "a.parquet").read_bytes()
    (tmp_path / "c" / "b.parquet").write_bytes(whole[:-50])
    assert "b.parquet is damaged or no parquet file" in told(make, False)
    (tmp_path / "c" / "a.parquet").unlink()
    for streaming in (False, True):
        assert "b.parquet is damaged or no parquet file" in told(make, streaming)


def test_files_of_different_columns(make, tmp_path):
    (tmp_path / "c" / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "c" / "b.jsonl").write_text('{"body": 3}\n')
    assert "damaged or not like the others" in told(make, False)


@pytest.mark.parametrize("streaming", [False, True])
def test_all_documents_empty(make, tmp_path, streaming):
    (tmp_path / "c" / "a.jsonl").write_text('{"text": " "}\n' * 60)
    message = told(make, streaming)
    assert str(tmp_path / "c") in message
    assert ("none of its documents has text in column 'text'" in message) or (
        "not one sequence" in message
    ), message


@pytest.mark.parametrize("streaming", [False, True])
def test_a_tokenizer_without_the_token(make, tmp_path, streaming):
    from transformers import AutoTokenizer

    (tmp_path / "c" / "a.jsonl").write_text('{"text": "the fox"}\n' * 60)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert told(make, streaming).startswith("end=eos: the tokenizer has no such token; choose")
    assert told(make, streaming, begin="[X]", end=None).startswith(
        "begin=[X]: the tokenizer has no such token"
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_a_length_above_what_the_tokenizer_says_is_nobodys_business(
    make, tmp_path, streaming, recwarn, caplog, capfd
):
    (tmp_path / "c" / "a.jsonl").write_text('{"text": "the fox jumps over the lazy dog"}\n' * 60)
    settings = tmp_path / "tokenizer" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 4}))
    data = make(streaming, length=20)
    assert data.tokenizer.model_max_length == 4
    assert data.length == 20
    assert not [str(w.message) for w in recwarn if "length" in str(w.message)]
    assert "length" not in caplog.text + capfd.readouterr().err
