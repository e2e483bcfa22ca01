"""Text sources: what they give, and what they say when a file is unfit."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from ordo.data import (
    TEXT8_ALPHABET,
    ChecksumError,
    DataError,
    MissingDataError,
    TextData,
    Vocabulary,
    normalise,
)
from ordo.data.text.characters import RandomCrops, chunks, embedded_text
from ordo.settings import SettingError

torch.set_num_threads(1)
TEXT8_HEAD = Path(__file__).resolve().parents[3] / "shared" / "data" / "text8" / "text8.head"


def of(tmp_path, content, **arguments):
    path = tmp_path / "some.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextData(**{"source": "file", "path": str(path), "length": 10, **arguments})


def test_normalise():
    assert (
        normalise("In 1989, the Café\n opened -- twice!")
        == "in one nine eight nine the caf opened twice"
    )


def test_embedded_text_needs_nothing_and_reads_back():
    data = TextData(length=16, batch_size=8, eval_batch_size=5, limit_eval=12)
    data.prepare_data()
    data.setup("fit")
    first = data.val_set
    data.setup("test")
    assert data.val_set is first
    assert (data.vocab_size, data.length, data.unit, data.entropy, data.precedence) == (
        27,
        16,
        "char",
        None,
        None,
    )
    assert "".join(data.vocabulary) == TEXT8_ALPHABET
    batch = next(iter(data.train_dataloader()))
    assert batch.shape == (8, 16)
    assert batch.dtype == torch.int64
    assert [len(b) for b in data.val_dataloader()] == [5, 5, 2]
    assert all(row in embedded_text() for row in data.decode(batch))
    assert json.loads(json.dumps(data.describe()))["sequences"]["validation"] == 12


def test_file_splits_chunks_and_vocabulary(tmp_path):
    content = "zé\r\n" * 100
    data = of(
        tmp_path,
        content,
        length=10,
        split=[0.8, 0.1, 0.1],
        crops="chunks",
        batch_size=32,
        eval_batch_size=3,
    )
    data.setup()
    assert data.vocabulary == ["\n", "\r", "z", "é"]
    rows = torch.cat([*data.train_dataloader()])
    assert sorted(data.decode(rows)) == sorted(content[i : i + 10] for i in range(0, 320, 10))
    for start, loader in [(320, data.val_dataloader()), (360, data.test_dataloader())]:
        assert data.decode(torch.cat([*loader])) == [
            content[i : i + 10] for i in range(start, start + 40, 10)
        ]
    described = data.describe()
    assert described["md5"] == hashlib.md5(content.encode()).hexdigest()
    assert described["sequences"] == {"train": 32, "validation": 4, "test": 4}


def test_random_crops_are_uniform_and_depend_on_the_seed():
    crops = RandomCrops(torch.arange(25), 6, seed=1)
    offsets = torch.from_numpy(crops.offsets(range(20000)))
    assert torch.equal(crops.__getitems__([5, 9])[:, 0], offsets[[5, 9]])
    counts = torch.bincount(offsets, minlength=20)
    assert len(counts) == 20
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.1%
    assert not (
        RandomCrops(torch.arange(25), 6, seed=2).offsets(range(100)) == offsets[:100].numpy()
    ).all()


def test_limited_evaluation_is_spread_over_the_split():
    rows = chunks(torch.arange(103), 10, limit=4)
    assert rows[:, 0].tolist() == [0, 20, 50, 70]
    assert len(chunks(torch.arange(103), 10, limit=50)) == 10


def test_mask_is_shown_and_other_ids_are_refused():
    vocabulary = Vocabulary(("a", "b"))
    assert vocabulary.decode(torch.tensor([[0, 2, 1]])) == ["a_b"]
    with pytest.raises(DataError, match="0\\.\\.2"):
        vocabulary.decode(torch.tensor([[3]]))


def test_vocabulary_of_many_characters(tmp_path):
    content = "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 3
    data = of(tmp_path, content, split=(0.5, 0.25, 0.25))
    data.setup()
    assert data.vocab_size == 300
    assert data.decode(next(iter(data.val_dataloader()))[:1])[0] == content[450:460]


def test_checkpoint_knows_its_vocabulary(tmp_path):
    data = of(tmp_path, "ab" * 500)
    data.setup()
    data.load_state_dict(data.state_dict())
    other = of(tmp_path, "abc" * 500)
    other.setup()
    with pytest.raises(DataError, match=r"vocabulary 'ab'.*'abc'"):
        other.load_state_dict(data.state_dict())


@pytest.mark.skipif(not TEXT8_HEAD.exists(), reason="the optional slice of text8 is not there")
def test_slice_of_text8():
    data = TextData(
        source="text8", path=str(TEXT8_HEAD), length=256, md5="12f8af6c010fdaf37e6010d52123f9c9"
    )
    data.prepare_data()
    data.setup()
    assert data.describe()["characters"] == {
        "train": 10_350_000,
        "validation": 575_000,
        "test": 575_000,
    }
    assert data.describe()["sequences"] == {"train": 40429, "validation": 2246, "test": 2246}
    assert data.vocab_size == 27
    assert next(iter(data.train_dataloader())).shape == (64, 256)


# Unfit arguments and files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "txt"}, "source=txt: must be embedded, text8 or file"),
        ({"crops": "blocks"}, "crops=blocks: must be random or chunks"),
        ({"split": (0.9, 0.2, 0.1)}, "sum to 1"),
        ({"split": (1.0, 0.0, 0.0)}, "every item a number above 0"),
        ({"length": 0}, "length"),
        ({"batch_size": 0}, "batch_size=0: must be a whole number from 1"),
        ({"source": "file"}, "needs a path"),
        ({"path": "x"}, "takes no path"),
        ({"alphabet": "abc"}, "fixed alphabet"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((DataError, SettingError), match=message):
        TextData(**arguments)


def test_missing_file(tmp_path):
    data = TextData(source="file", path=str(tmp_path / "gone.txt"))
    with pytest.raises(MissingDataError, match=r"no such file: .*gone\.txt.*check path"):
        data.setup()
    assert issubclass(MissingDataError, FileNotFoundError)


def test_short_and_empty_file(tmp_path):
    with pytest.raises(DataError, match=r"validation split.*has 5 characters.*length=10.*at least"):
        of(tmp_path, "ab" * 50).setup()
    with pytest.raises(DataError, match="is empty"):
        of(tmp_path, "").setup()


def test_advised_size_is_enough(tmp_path):
    of(tmp_path, "a" * 220).setup()  # ceil((10 + 1) / 0.05), as the message says


def test_sequence_longer_than_the_file(tmp_path):
    with pytest.raises(
        DataError, match="has 100 characters, fewer than one sequence of length=101"
    ):
        of(tmp_path, "ab" * 50, length=101).setup()


def test_corrupt_file(tmp_path):
    with pytest.raises(DataError, match="not UTF-8: byte 0xff at offset 200"):
        of(tmp_path, b"ab" * 100 + b"\xff" + b"ab" * 100).setup()


def test_wrong_md5_of_a_file(tmp_path):
    content = b"ab" * 200
    with pytest.raises(
        ChecksumError, match=f"expected {'0' * 32}, got {hashlib.md5(content).hexdigest()}"
    ):
        of(tmp_path, content, md5="0" * 32).setup()


def test_character_outside_the_vocabulary(tmp_path):
    content = "ab" * 190 + "aé" + "ab" * 9
    with pytest.raises(DataError, match=r"'é' at offset 381 .*train split"):
        of(tmp_path, content).setup()
    data = of(tmp_path, content, alphabet="béa")
    data.setup()
    assert data.vocabulary == ["b", "é", "a"]
    with pytest.raises(DataError, match=r"'A' at offset 0 .*normalise"):
        of(tmp_path, "A" + "a" * 300, source="text8").setup()
    with pytest.raises(DataError, match="distinct single characters"):
        of(tmp_path, content, alphabet="aa").setup()


def test_python_without_its_help_texts(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(MissingDataError, match="source=file"):
        TextData().setup()


# Fetching


@pytest.fixture
def archive(tmp_path):
    """A zip with 40,000 letters as member text8, its URL and their md5."""
    letters = (torch.arange(40000) * 7919 % 104729 % 26 + 97).to(torch.uint8).numpy().tobytes()
    path = tmp_path / "source" / "text8.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("text8", letters)
    return path, hashlib.md5(letters).hexdigest()


def remote(tmp_path, path, md5, **arguments):
    folder = str(tmp_path / "data")
    return TextData(
        source="text8", data_dir=folder, url=path.as_uri(), md5=md5, length=100, **arguments
    )


def test_download(archive, tmp_path):
    data = remote(tmp_path, *archive)
    data.prepare_data()
    data.setup("fit")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["text8"]
    archive[0].unlink()
    again = remote(tmp_path, *archive)
    again.prepare_data()  # fetches nothing
    again.setup("fit")
    assert again.describe() == data.describe()
    assert data.describe()["name"] == "text8"


@pytest.mark.parametrize("fault", ["wrong md5", "truncated", "damaged", "unreachable"])
def test_failed_download_leaves_nothing(archive, tmp_path, fault):
    path, md5 = archive
    raw = path.read_bytes()
    error, message = DataError, "damaged or cut short"
    if fault == "wrong md5":
        md5, error, message = "0" * 32, ChecksumError, "expected 0{32}, got [0-9a-f]{32}"
    elif fault == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
    elif fault == "damaged":
        path.write_bytes(raw[:200] + b"\x00" * 50 + raw[250:])
    else:
        path.unlink()
        error, message = MissingDataError, r"curl -L -o .*text8\.zip file://.* && unzip"
    with pytest.raises(error, match=message):
        remote(tmp_path, path, md5).prepare_data()
    assert list((tmp_path / "data").iterdir()) == []


def test_download_forbidden(archive, tmp_path):
    data = remote(tmp_path, *archive, download=False)
    data.prepare_data()
    with pytest.raises(MissingDataError, match=r"download=True, or by hand: mkdir .*curl"):
        data.setup()
