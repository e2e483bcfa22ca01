"""A byte-order mark, which editors put before a file, is no character, name or token."""

import json

import pandas as pd
import pytest
import torch
from tiny_tokenizer import tiny_tokenizer

from ordo.data import CorpusData, DataError, SmilesData, TextData
from ordo.data.tables.frames import read_table
from ordo.data.tasks.sudoku_file import read_puzzles
from ordo.data.text.vocabulary import codepoints

MARK = "\ufeff"
DOCUMENTS = ["the quick brown fox", "jumps over the lazy dog"] * 20


def test_text(tmp_path):
    plain = "the quick brown fox é " * 40
    found = []
    for name, content in (("a", plain), ("b", MARK + plain)):
        (tmp_path / name).write_text(content, encoding="utf-8")
        data = TextData("file", path=str(tmp_path / name), length=8)
        data.setup()
        found.append((data.vocabulary, data.test_set.tokens.tolist()))
    assert found[0] == found[1]
    assert codepoints(b"\xef\xbb\xbfab", "x").tolist() == [97, 98]
    for encoding in ("utf-16", "utf-16-be", "utf-16-le"):
        raw = (MARK + plain).encode(encoding)
        with pytest.raises(DataError, match="UTF-16, as its byte-order mark says: convert it"):
            codepoints(raw, "x")


@pytest.fixture
def tokenizer(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return tiny_tokenizer(tmp_path / "tokenizer")


def write_corpus(folder, kind, mark):
    folder.mkdir()
    if kind == "txt":
        for i, text in enumerate(DOCUMENTS):
            (folder / f"{i:02d}.txt").write_text(mark + text, encoding="utf-8")
        return folder
    file = folder / f"c.{kind}"
    lines = (
        [json.dumps({"text": text}) for text in DOCUMENTS]
        if kind == "jsonl"
        else ["text", *DOCUMENTS]
    )
    file.write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_corpora(kind, tokenizer, tmp_path):
    """The same tokens with and without."""
    found = []
    for name, mark in (("plain", ""), ("marked", MARK)):
        source = write_corpus(tmp_path / name, kind, mark)
        splits = {"train": "train[:50%]", "validation": "train[50%:75%]", "test": "train[75%:]"}
        data = CorpusData(
            str(source),
            str(tmp_path / "tokenizer"),
            length=8,
            splits=splits,
            cache_dir=str(tmp_path / "cache"),
        )
        data.setup()
        found.append([data.caches[name].tokens[:].tolist() for name in splits])
    assert found[0] == found[1]


def test_molecules_and_puzzles_and_tables(tmp_path):
    lines = "smiles,id\n" + "".join(
        f"{s},{i}\n"
        for i, s in enumerate(["C", "CC", "CCO", "CO", "N", "CN", "OCC", "NC", "CCC", "CNC"] * 1)
    )
    (tmp_path / "m.csv").write_text(MARK + lines, encoding="utf-8")
    (tmp_path / "m.smi").write_text(MARK + "C\nCC\nO\nCO\nOC\nOO\n", encoding="utf-8")
    for name in ("m.csv", "m.smi"):
        data = SmilesData(str(tmp_path / name), split=(0.6, 0.2, 0.2))
        data.setup()
        assert set("".join(data.vocabulary.symbols)) <= set("·CNO")
    (tmp_path / "s.csv").write_text(lines.replace(",", ";"))
    with pytest.raises(
        DataError, match="write the file with commas between its cells, not with ';'"
    ):
        SmilesData(str(tmp_path / "s.csv")).setup()
    puzzle, solution = "1000000000000000", "1234341221434321"
    (tmp_path / "p.csv").write_text(
        f"{MARK}puzzle,solution\r\n{puzzle},{solution}\r\n", encoding="utf-8"
    )
    assert torch.equal(
        read_puzzles(tmp_path / "p.csv", 2).tokens[0, :4], torch.tensor([0, 1, 2, 3])
    )
    (tmp_path / "p.csv").write_bytes(b"puzzl\xe9,solution\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_puzzles(tmp_path / "p.csv", 2)
    (tmp_path / "t.csv").write_text(f"{MARK}a,b\n1,2\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv").equals(
        pd.DataFrame({"a": ["1"], "b": ["2"]}, dtype=object)
    )
    (tmp_path / "t.csv").write_text(f'{MARK}"a",b\n1,2\n', encoding="utf-8")
    assert read_table(tmp_path / "t.csv").columns.tolist() == ["a", "b"], "also before a quote"
