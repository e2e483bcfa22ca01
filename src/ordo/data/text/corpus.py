"""Text corpora: any hub data set or local files, any tokenizer, tokenised once or streamed.

They are read with ``datasets`` and tokenised with ``transformers``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.data.errors import DataError
from ordo.data.loader import State, StepSampler
from ordo.data.module import SPLITS, Batch, Rows, SequenceData, evenly
from ordo.data.text.sequences import Cutter, DocumentRows, PackedRows, rows_of
from ordo.data.text.shards import Reader, Shard, Streams
from ordo.data.text.source import batches, load_split
from ordo.data.text.stream import StreamRows, stream_loader, stream_sampler
from ordo.data.text.token_cache import FORMAT, TokenCache, open_or_build
from ordo.data.text.tokenizer import Encoder, decode, fingerprint, load_tokenizer, token_id
from ordo.settings import Seed, Size, Some, Text, checked


@checked
class CorpusData(SequenceData):
    """Documents joined and cut into sequences of equal length, or one document a sequence.

    ``layout="packed"`` (in some papers "wrapped"): no padding anywhere. ``layout="documents"``
    ("per sentence"): a document is a sequence, padded on the right to ``length`` with id 0, and
    batches say how long each is. ``longer`` says whether longer documents are cut or left out, and
    ``describe`` counts them. Both layouts come from the same cache.

    Every document is tokenised once into a memory-mapped cache in ``cache_dir``; fast tokenizers
    use all cores. The cache's key is made of the data set (on the hub: its revision; of local
    files: their paths, sizes and times), the split, tokenizer, text column, begin and end. It does
    not depend on ``length``. A document is a row of the data set; a .txt file is one document.
    Documents that are empty or all white space are left out.

    The mask is an id of its own, V = the number of the tokenizer's ids, even if the tokenizer has a
    mask token; the mask is never predicted. ``begin`` and ``end`` say how a document begins and
    ends, and checkpoints keep them.

    ``streaming=True`` is for data sets too large to tokenise first. Nothing is written: documents
    are read, tokenised and shuffled while training (``ordo.data.text.stream``). A resumed run goes
    on with the same batches, also on another number of ranks if batch_size times ranks is the same.
    The price: every rank reads and tokenises everything, in every run. For many ranks build the
    cache. Validation and test are the first ``limit_eval`` sequences of their splits.

    Args:
        source: name of a data set on the Hugging Face hub, or a local file or folder (.txt, .jsonl,
            .json, .parquet, .csv).
        tokenizer: name on the hub, or folder, of any ``AutoTokenizer``.
        config: configuration of the hub data set, such as wikitext-103-raw-v1.
        revision: of the hub data set: branch, tag or commit.
        column: the column that holds the text.
        length: tokens per sequence.
        layout: "packed" or "documents".
        longer: with layout="documents", documents longer than ``length``: "cut" to it, or "drop".
        streaming: read while training instead of from a cache.
        shuffle_buffer: the next sequence of a stream is drawn among so many; 1: no shuffling.
        splits: names of the data set's train, validation and test splits. A slice such as
            "train[:99%]" makes a split of a part of another one; in a stream, parts are counted in
            documents, "train[2000:]".
        begin, end: token put before and after every document: "bos", "eos", "cls", "sep", the token
            itself, or None.
        limit_eval: use only so many validation and test sequences, evenly spaced; in a stream the
            first ones. None: all, which a stream does not offer.
        cache_dir: folder of token caches.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``. A stream takes at most
            one worker.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: arguments that do not agree; a damaged file; a data set without the column or
            split; a tokenizer without the token that begin or end name; fewer tokens than one
            sequence.
        MissingDataError: something that cannot be found or fetched.
    """

    unit, entropy, precedence = "token", None, None

    places = ("source", "tokenizer", "cache_dir")

    def __init__(
        self,
        source: Text,
        tokenizer: Text,
        config: Text | None = None,
        revision: Text | None = None,
        column: Text = "text",
        length: Size = 1024,
        layout: Literal["packed", "documents"] = "packed",
        longer: Literal["cut", "drop"] = "cut",
        streaming: bool = False,
        shuffle_buffer: Size = 10_000,
        splits: Mapping[str, Text] | None = None,
        begin: Text | None = None,
        end: Text | None = "eos",
        limit_eval: Size | None = 2048,
        cache_dir: Text = "data/tokens",
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        splits = dict(splits or {name: name for name in SPLITS})
        if set(splits) != set(SPLITS):
            raise DataError(f"splits must name {', '.join(SPLITS)}, got {', '.join(splits)}")
        if streaming and (limit_eval is None or num_workers > 1):
            raise DataError(
                "streaming needs limit_eval (of ordo eval sequences) as a number, and at most "
                f"num_workers=1, got limit_eval={limit_eval}, num_workers={num_workers}; "
                "streaming=false has no such limits"
            )
        self.source, self.config, self.revision, self.column = source, config, revision, column
        self.tokenizer_name, self.begin, self.end = tokenizer, begin, end
        self.splits, self.limit_eval = splits, limit_eval
        self.length, self.layout, self.longer = length, layout, longer
        self.streaming, self.shuffle_buffer = streaming, shuffle_buffer
        self.cache_dir = Path(cache_dir)
        self.caches: dict[str, TokenCache] = {}

    def prepare_data(self) -> None:
        """Fetches and tokenises what is not there yet, with a progress bar."""
        if not self.streaming:
            self._open()

    def setup(self, stage: str | None = None) -> None:
        """Opens the caches, or reads a stream's evaluation sequences; at once if called again."""
        if hasattr(self, "test_set"):
            return
        if self.streaming:
            self._stream()
            return
        self._open()
        rows = {
            name: rows_of(cache, self.length, self.layout, self.longer)
            for name, cache in self.caches.items()
        }
        for name, cache in self.caches.items():
            where = f"{self.source}, split {self.splits[name]}"
            if not len(cache.tokens):
                raise DataError(
                    f"{where}: none of its documents has text in column {self.column!r}; set "
                    "data.column or data.splits"
                )
            if not len(rows[name]):
                what = (
                    f"{len(cache.tokens)} tokens"
                    if self.layout == "packed"
                    else f"none of {len(cache.ends)} documents fits"
                )
                raise DataError(
                    f"{where}: {what}, fewer than one sequence of length={self.length}; use "
                    "another length or more text"
                )
        self._rows, self.train_set = rows, rows["train"]
        self.val_set, self.test_set = (self._some(rows[name]) for name in SPLITS[1:])

    def _some(self, rows: PackedRows | DocumentRows) -> Rows:
        """Evaluation sequences, in memory."""
        batch = rows.batch(evenly(len(rows), self.limit_eval).numpy())
        return Rows(batch.tokens.int(), lengths=batch.lengths)

    def _tokenizer(self) -> Encoder:
        self.tokenizer = load_tokenizer(self.tokenizer_name)
        self.vocab_size = len(self.tokenizer)
        begin, end = (
            token_id(self.tokenizer, token, name)
            for name, token in (("begin", self.begin), ("end", self.end))
        )
        return Encoder(self.tokenizer, begin, end)

    def _open(self) -> None:
        if self.caches:
            return
        encode = self._tokenizer()
        ends = {
            name: token_id(self.tokenizer, token, name)
            for name, token in (("begin", self.begin), ("end", self.end))
        }
        meaning = {
            "format": FORMAT,
            "tokenizer": fingerprint(self.tokenizer),
            "column": self.column,
            **ends,
        }
        if self.tokenizer.mask_token_id is not None:
            meaning["mask"] = "as text"
        caches = {}
        for name in SPLITS:
            dataset = load_split(
                self.source, self.config, self.revision, self.splits[name], self.column
            )
            about = meaning | {"dataset": dataset._fingerprint, "split": self.splits[name]}
            key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
            folder = self.cache_dir / f"{Path(self.source).stem}-{name}-{key}"
            about |= {"source": self.source, "tokenizer_name": self.tokenizer_name}
            documents = batches(dataset, self.column, encode, f"tokenising {self.splits[name]}")
            caches[name] = open_or_build(folder, self.vocab_size, documents, about)
        self.caches = caches

    def _stream(self) -> None:
        self._encode = self._tokenizer()
        streams = Streams(self.source, self.config, self.revision)
        self._fingerprint = streams.fingerprint
        limit = self.limit_eval or 1
        sets = [streams.first(self.splits[name], limit, self._reader()) for name in SPLITS[1:]]
        self._shards: list[Shard] = streams.shards(self.splits["train"])
        self.val_set, self.test_set = sets

    def _reader(self) -> Reader:
        cutter = Cutter(self.length, self.layout, self.longer, self.vocab_size)
        return Reader(self.column, self._encode, cutter)

    def train_rows(self, rank: int, world_size: int) -> Dataset[Batch | Tensor]:
        if not self.streaming:
            return super().train_rows(rank, world_size)
        plan = self.batch_size, self.shuffle_buffer, self.seed, rank, world_size
        return StreamRows(self._shards, self._reader(), *plan)

    def train_sampler(self, rank: int, world_size: int) -> StepSampler:
        if not self.streaming:
            return super().train_sampler(rank, world_size)
        return stream_sampler(
            self.batch_size * world_size,
            len(self._shards),
            self.shuffle_buffer,
            self.seed,
            self._fingerprint,
        )

    def train_dataloader(self) -> StatefulDataLoader:
        """Shuffled full batches.

        The loader's ``state_dict`` holds the position, and a stream's buffer.
        """
        if not self.streaming:
            return super().train_dataloader()
        return stream_loader(
            self.train_rows(*self.ranks()),
            self.train_sampler(*self.ranks()),
            self.num_workers,
            self._to_gpu(),
        )

    def decode(self, tokens: Tensor) -> list[str]:
        """Sequences (n, length) as text; the mask is ``_``, and nothing at a document's end."""
        return decode(self.tokenizer, tokens)

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints.

        It says what ids mean, how documents begin and end, and what a sequence is. For samples it
        also has the sorted lengths of at most 1000 validation documents.
        """
        lengths = self.val_set.lengths
        if lengths is not None:
            lengths = lengths.sort().values
            lengths = lengths[
                torch.linspace(0, len(lengths) - 1, min(1000, len(lengths))).long()
            ].tolist()
        return {
            "tokenizer": self.tokenizer_name,
            "tokenizer_fingerprint": fingerprint(self.tokenizer),
            "begin": self.begin,
            "end": self.end,
            "layout": self.layout,
            "longer": self.longer,
            "lengths": lengths,
        }

    def load_state_dict(self, state_dict: State) -> None:
        """Checks that ids mean the same as in the checkpoint, and that sequences are cut alike.

        Raises DataError.
        """
        mine = self.state_dict()
        saved = {
            "layout": "packed",
            "longer": "cut",
        } | state_dict  # old checkpoints do not say these two
        different = [
            name
            for name in ("tokenizer_fingerprint", "begin", "end", "layout")
            if saved[name] != mine[name]
        ]
        if self.layout == "documents" and saved["longer"] != self.longer:
            different.append("longer")
        if different:
            told = [
                f"{name}={values[name]}"
                for values in (saved, mine)
                for name in ("begin", "end", "layout", "longer")
            ]
            raise DataError(
                f"the checkpoint was trained with the tokenizer {saved['tokenizer']}, "
                f"{', '.join(told[:4])}; these data have {self.tokenizer_name}, "
                f"{', '.join(told[4:])}: {', '.join(different)} differ"
            )

    def describe(self) -> dict[str, object]:
        meaning = {name: value for name, value in self.state_dict().items() if name != "lengths"}
        about = {"name": self.source, "config": self.config, "revision": self.revision}
        out = about | super().describe() | meaning
        if self.streaming:
            stream = {
                "files": len(self._shards),
                "fingerprint": self._fingerprint,
                "shuffle_buffer": self.shuffle_buffer,
            }
            return out | {"stream": stream}
        return out | {
            "tokens": {name: len(cache.tokens) for name, cache in self.caches.items()},
            "documents": {name: len(cache.ends) for name, cache in self.caches.items()},
            "longer_documents": {name: rows.longer for name, rows in self._rows.items()},
            "caches": {name: cache.folder.name for name, cache in self.caches.items()},
        }
