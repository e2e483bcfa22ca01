"""Text corpora through ``datasets`` and ``transformers``: any hub data set or local files, any tokenizer, tokenised once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from ordo.data.errors import DataError, MissingDataError
from ordo.data.loader import StepBatchSampler
from ordo.data.module import Rows, SequenceData
from ordo.data.token_cache import FORMAT, TokenCache, open_or_build

LOADERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
BATCH = 1000  # documents tokenised at once
SPLITS = ("train", "validation", "test")


class PackedRows(Dataset[Tensor]):
    """Sequence i of a cache: its tokens i * length to (i + 1) * length, from the disk."""

    def __init__(self, cache: TokenCache, length: int) -> None:
        self.cache, self.length = cache, length

    def __len__(self) -> int:
        return self.cache.sequences(self.length)

    def __getitems__(self, indices: list[int]) -> Tensor:
        """(batch, length) int64."""
        return torch.from_numpy(self.rows(indices).astype(np.int64))

    def rows(self, indices: list[int]) -> np.ndarray:
        """(batch, length), as they are on the disk."""
        return np.stack([self.cache.tokens[(i % len(self)) * self.length : (i % len(self) + 1) * self.length] for i in indices])


class CorpusData(SequenceData):
    """Documents joined and cut into sequences of equal length ("packed" or "wrapped" in the literature): no padding anywhere.

    Every document is tokenised once, with all cores for fast tokenizers, into a memory-mapped cache in ``cache_dir``. Its key is made of
    the data set (on the hub its revision, of local files their paths, sizes and times), split, tokenizer, text column, begin and end; not
    of ``length``. A document is a row of the data set, and of .txt files a whole file. Those that are empty or all white space are left
    out.

    The mask is an id of its own, V = the number of the tokenizer's ids, whatever mask token the tokenizer has; it is never a class. Where a
    document begins and ends is as ``begin`` and ``end`` say, and is kept in checkpoints.

    Args:
        source: name of a data set on the Hugging Face hub, or a local file or folder (.txt, .jsonl, .json, .parquet, .csv).
        tokenizer: name on the hub, or folder, of any ``AutoTokenizer``.
        config: configuration of the hub data set, such as wikitext-103-raw-v1.
        revision: of the hub data set: branch, tag or commit.
        column: that holds the text.
        length: tokens per sequence.
        splits: names of the data set's train, validation and test splits. A slice such as "train[:99%]" makes a split of another's part.
        begin, end: token put before and after every document: "bos", "eos", "cls", "sep", the token itself, or None.
        limit_eval: use only this many validation and test sequences, evenly spaced; None: all.
        cache_dir: folder of token caches.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.

    Raises:
        DataError: an argument out of range; a data set without the column or split; a tokenizer without the token that begin or end name;
            fewer tokens than one sequence. MissingDataError: what cannot be found or fetched.
    """

    unit, entropy, precedence = "token", None, None

    def __init__(
        self,
        source: str,
        tokenizer: str,
        config: str | None = None,
        revision: str | None = None,
        column: str = "text",
        length: int = 1024,
        splits: Mapping[str, str] | None = None,
        begin: str | None = None,
        end: str | None = "eos",
        limit_eval: int | None = 2048,
        cache_dir: str = "data/tokens",
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        splits = dict(splits or {name: name for name in SPLITS})
        if set(splits) != set(SPLITS):
            raise DataError(f"splits must name {', '.join(SPLITS)}, got {', '.join(splits)}")
        if length < 1 or (limit_eval is not None and limit_eval < 1):
            raise DataError(f"length and limit_eval must be at least 1, got length={length}, limit_eval={limit_eval}")
        self.source, self.tokenizer_name, self.config, self.revision, self.column = source, tokenizer, config, revision, column
        self.length, self.splits, self.begin, self.end, self.limit_eval = length, splits, begin, end, limit_eval
        self.cache_dir = Path(cache_dir)
        self.caches: dict[str, TokenCache] = {}

    def prepare_data(self) -> None:
        """Fetches and tokenises what is not there yet, with a progress bar."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Opens the caches; a second call does nothing."""
        if hasattr(self, "test_set"):
            return
        self._open()
        for name, cache in self.caches.items():
            if not cache.sequences(self.length):
                raise DataError(
                    f"{self.source}, split {self.splits[name]}: {len(cache.tokens)} tokens, fewer than one sequence of "
                    f"length={self.length}; use less length or more text"
                )
        self._train = PackedRows(self.caches["train"], self.length)
        self.val_set, self.test_set = (Rows(self._some(self.caches[name])) for name in SPLITS[1:])

    def _some(self, cache: TokenCache) -> Tensor:
        """Evaluation sequences (n, length), in memory."""
        n = cache.sequences(self.length)
        chosen = np.arange(n) if self.limit_eval is None or n <= self.limit_eval else np.arange(self.limit_eval) * n // self.limit_eval
        return torch.from_numpy(PackedRows(cache, self.length).rows(chosen.tolist()).astype(np.int32))

    def _open(self) -> None:
        if self.caches:
            return
        self.tokenizer = load_tokenizer(self.tokenizer_name)
        self.vocab_size = len(self.tokenizer)
        ends = {name: token_id(self.tokenizer, token, name) for name, token in (("begin", self.begin), ("end", self.end))}
        encode = encoder(self.tokenizer, ends["begin"], ends["end"])
        meaning = {"format": FORMAT, "tokenizer": fingerprint(self.tokenizer), "column": self.column, **ends}
        if self.tokenizer.mask_token_id is not None:
            meaning["mask"] = "as text"
        for name in SPLITS:
            dataset = load_split(self.source, self.config, self.revision, self.splits[name], self.column)
            about = meaning | {"dataset": dataset._fingerprint, "split": self.splits[name]}
            key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
            folder = self.cache_dir / f"{Path(self.source).stem}-{name}-{key}"
            about |= {"source": self.source, "tokenizer_name": self.tokenizer_name}
            documents = batches(dataset, self.column, encode, f"tokenising {self.splits[name]}")
            self.caches[name] = open_or_build(folder, self.vocab_size, documents, about)

    def train_rows(self, rank: int, world_size: int) -> PackedRows:
        return self._train

    def train_sampler(self, rank: int, world_size: int) -> StepBatchSampler:
        return StepBatchSampler(len(self._train), self.batch_size, self.seed, rank, world_size)

    def decode(self, tokens: Tensor) -> list[str]:
        """Sequences (n, length) as text; the mask is shown as ``_``."""
        return decode(self.tokenizer, tokens)

    def state_dict(self) -> dict[str, Any]:
        """Goes into Lightning's checkpoints: what token ids mean, and how documents begin and end."""
        return {
            "tokenizer": self.tokenizer_name,
            "tokenizer_fingerprint": fingerprint(self.tokenizer),
            "begin": self.begin,
            "end": self.end,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that the checkpoint's ids mean the same here. Raises DataError."""
        mine = self.state_dict()
        different = [name for name in ("tokenizer_fingerprint", "begin", "end") if state_dict[name] != mine[name]]
        if different:
            raise DataError(
                f"the checkpoint was trained with the tokenizer {state_dict['tokenizer']}, begin={state_dict['begin']} and "
                f"end={state_dict['end']}; these data have {self.tokenizer_name}, {self.begin}, {self.end}: {', '.join(different)} differ"
            )

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.source,
            "config": self.config,
            "revision": self.revision,
            "unit": self.unit,
            "length": self.length,
            "vocab_size": self.vocab_size,
            **self.state_dict(),
            "tokens": {name: len(cache.tokens) for name, cache in self.caches.items()},
            "documents": {name: len(cache.ends) for name, cache in self.caches.items()},
            "caches": {name: cache.folder.name for name, cache in self.caches.items()},
            "sequences": {"train": len(self._train), "validation": len(self.val_set), "test": len(self.test_set)},
            "seed": self.seed,
        }


def load_tokenizer(name: str) -> Any:
    """Raises MissingDataError."""
    from transformers import AutoTokenizer  # seconds to import, and only corpora need it

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"no tokenizer {name!r} ({str(error).strip().splitlines()[0]}); give data.tokenizer the name of one on the hub, or a folder"
        ) from error


def decode(tokenizer: Any, tokens: Tensor) -> list[str]:
    """Sequences (n, length) as text; the mask, id len(tokenizer), is shown as ``_``."""
    texts = []
    for row in tokens.tolist():
        parts: list[list[int]] = [[]]
        for token in row:
            if token == len(tokenizer):
                parts.append([])
            else:
                parts[-1].append(token)
        texts.append("_".join(str(tokenizer.decode(part)) for part in parts))
    return texts


def token_id(tokenizer: Any, token: str | None, where: str) -> int | None:
    """Of bos, eos, cls, sep or a token itself. Raises DataError where the tokenizer has none."""
    if token is None:
        return None
    value = getattr(tokenizer, f"{token}_token_id", None) if token in ("bos", "eos", "cls", "sep") else tokenizer.get_vocab().get(token)
    if value is None:
        raise DataError(f"{where}={token}: the tokenizer has no such token; choose bos, eos, cls, sep, one of its tokens, or null")
    return int(value)


def fingerprint(tokenizer: Any) -> str:
    """Of what a tokenizer does: its rules and vocabulary, not its name."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def encoder(tokenizer: Any, begin: int | None, end: int | None) -> Callable[[list[str]], list[np.ndarray]]:
    """Documents to arrays of ids, without the tokenizer's own special tokens. A text that has its mask token written out has it as text."""
    before = [] if begin is None else [begin]
    after = [] if end is None else [end]
    mask = tokenizer.mask_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    plain = None  # the same, to which a special token written out is text
    if backend is not None:
        backend = type(backend).from_str(backend.to_str())  # a copy, which cuts and pads nothing whatever its file says
        backend.no_truncation()
        backend.no_padding()
        plain = type(backend).from_str(backend.to_str())
        plain.encode_special_tokens = True

    def without_mask(text: str, found: list[int]) -> list[int]:
        if mask is None or mask not in found:
            return found
        if plain is not None:
            return plain.encode(text, add_special_tokens=False).ids
        return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def encode(texts: list[str]) -> list[np.ndarray]:
        if backend is not None:  # in parallel, without what transformers wraps around it
            ids = [found.ids for found in backend.encode_batch_fast(texts, add_special_tokens=False)]
        else:
            ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        pairs = zip(texts, ids, strict=True)
        return [np.array([*before, *without_mask(text, found), *after], dtype=np.int64) for text, found in pairs]

    return encode


def load_split(source: str, config: str | None, revision: str | None, split: str, column: str) -> Any:
    """A split of a hub data set or of local files. Raises DataError, MissingDataError."""
    import datasets  # seconds to import, and only corpora need it

    path = Path(source)
    try:
        if path.exists():
            files = sorted(p for p in path.rglob("*") if p.suffix in LOADERS) if path.is_dir() else [path]
            kinds = {LOADERS.get(p.suffix) for p in files}
            if len(kinds) != 1 or None in kinds:
                raise DataError(f"{source} must hold files of one kind, one of {', '.join(LOADERS)}")
            kind, named = str(kinds.pop()), {"train": [str(p) for p in files]}
            if kind == "text":  # line by line would lose where lines end
                dataset = datasets.load_dataset(kind, data_files=named, split=split, sample_by="document")
            else:
                dataset = datasets.load_dataset(kind, data_files=named, split=split)
        else:
            dataset = datasets.load_dataset(source, config, revision=revision, split=split)
    except DataError:
        raise
    except ValueError as error:
        mend = (
            "local files have one split, train; set data.splits={train: 'train[:98%]', validation: 'train[98%:99%]', test: 'train[99%:]'}"
        )
        raise DataError(f"{source}, split {split!r}: {str(error).strip().splitlines()[0]}; {mend}") from error
    except Exception as error:  # the hub and the file readers raise errors of many libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingDataError(
            f"no data set {source!r} ({reason}); give data.source the name of one on the hub (huggingface-cli login for gated ones), "
            "or a local file or folder"
        ) from error
    if column not in dataset.column_names:
        raise DataError(f"{source} has no column {column!r}; it has {', '.join(dataset.column_names)}: set data.column")
    return dataset


def batches(dataset: Any, column: str, encode: Callable[[list[str]], list[np.ndarray]], description: str) -> Iterator[list[np.ndarray]]:
    """All documents that are not empty, tokenised, a batch at a time."""
    console = Console(stderr=True)
    starts: Iterable[int] = range(0, len(dataset), BATCH)
    for start in track(starts, description, console=console, disable=not console.is_terminal, transient=True):
        texts = [text for text in dataset[start : start + BATCH][column] if isinstance(text, str) and text.strip()]
        if texts:
            yield encode(texts)
