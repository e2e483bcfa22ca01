"""Corpora with a tiny tokenizer; everything they read and write is in a temporary folder."""

import pytest
from tiny_tokenizer import tiny_tokenizer

from ordo.data import CorpusData


@pytest.fixture
def tokenizer(tmp_path, monkeypatch):
    """The tiny tokenizer, in the folder ``tokenizer``; caches of data sets are in ``hf``."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return tiny_tokenizer(tmp_path / "tokenizer")


@pytest.fixture
def corpus_data(tmp_path, tokenizer):
    """Callable: name of a file or folder in ``tmp_path``, settings -> CorpusData."""
    paths = {"tokenizer": str(tmp_path / "tokenizer"), "cache_dir": str(tmp_path / "cache")}

    def make(name, **settings):
        return CorpusData(**(paths | {"source": str(tmp_path / name)} | settings))

    return make
