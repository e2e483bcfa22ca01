"""Text at character level: text8, any UTF-8 file, or a text that comes with Python."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ordo.data.download import TEXT8_MD5, TEXT8_URL, by_hand, check_md5, fetch
from ordo.data.errors import DataError, MissingDataError
from ordo.data.loader import State, data_generator
from ordo.data.module import SPLITS, Rows, SequenceData, SizedDataset, evenly
from ordo.data.permutation import mix
from ordo.data.text.vocabulary import TEXT8_ALPHABET, Vocabulary, codepoints, normalise
from ordo.settings import PositiveShare, Seed, Size, Some, Text, checked


def embedded_text() -> str:
    """The help texts of the standard library (``pydoc_data.topics``), in text8's 27 symbols.

    About 450,000 characters. They differ between Python versions: compare ``describe()["md5"]``
    before you compare numbers.

    Raises:
        MissingDataError: this Python came without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingDataError(
            "this Python came without pydoc_data (some distributions split the standard library "
            "into packages): install the "
            "rest of it, or use source=file with a text of your own"
        ) from error
    return normalise(" ".join(topics[name] for name in sorted(topics)))


class RandomCrops(SizedDataset):
    """Windows of a text (characters,) at uniform offsets; a pure function of (seed, row number)."""

    def __init__(self, tokens: Tensor, length: int, seed: int) -> None:
        self.tokens, self.length = tokens, length
        self.key = np.uint64(torch.randint(2**63 - 1, (), generator=data_generator(seed)).item())

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def offsets(self, indices: Sequence[int]) -> np.ndarray:
        """Offsets (n,) int64 in characters:

        SplitMix64 (Steele, Lea, Flood 2014) of the row numbers.
        """
        with np.errstate(over="ignore"):
            z = mix(self.key + np.asarray(indices, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return (z % np.uint64(len(self.tokens) - self.length + 1)).astype(np.int64)

    def __getitems__(self, indices: list[int]) -> Tensor:
        """(batch, length) int64."""
        starts = torch.from_numpy(self.offsets(indices))
        return self.tokens[starts[:, None] + torch.arange(self.length)].long()


def chunks(tokens: Tensor, length: int, limit: int | None = None) -> Tensor:
    """Non-overlapping windows (n, length) of a text (characters,), as a view.

    limit: take that many windows, evenly spaced; None: all.
    """
    n = len(tokens) // length
    rows = tokens[: n * length].view(n, length)
    return rows if limit is None or limit >= n else rows[evenly(n, limit)]


Shares = tuple[PositiveShare, PositiveShare, PositiveShare]


def check_shares(split: Shares) -> None:
    """Raises DataError unless the shares of train, validation and test sum to 1."""
    if not math.isclose(sum(split), 1, abs_tol=1e-6):
        raise DataError(f"the shares of split must sum to 1, got {list(split)}")


def split_bounds(n: int, split: Shares) -> list[int]:
    """Where the splits of n items begin and end, (4,)."""
    return [0, round(n * split[0]), round(n * (split[0] + split[1])), n]


@checked
class TextData(SequenceData):
    """Character-level text, split in order into train, validation and test; see ``SequenceData``.

    It also offers ``vocabulary``, the list of symbols in the order of their ids.

    Args:
        source: "embedded" (needs no file), "text8" (27 symbols, space = 0;
            http://mattmahoney.net/dc/textdata.html) or "file" (any UTF-8 text, read as it is).
        path: the file. None, for text8: ``data_dir/text8``, fetched if it is not there. For text8
            the file may be a slice of it.
        length: characters per sequence.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.
        split: shares of train, validation and test, in the order of the text. The default is the
            usual 90M/5M/5M of text8.
        crops: training sequences. "random": at uniformly random offsets; "chunks": non-overlapping,
            shuffled. Either way an epoch has as many sequences as there are chunks. Validation and
            test sequences are always chunks.
        limit_eval: use only so many validation and test sequences, evenly spaced; None: all.
        alphabet: for source=file: the characters in the order of their ids; None: the characters of
            the train split, sorted.
        download: whether text8 may be fetched.
        data_dir: folder for fetched files.
        md5: expected md5 of the file; None: text8 as a whole is checked, a ``path`` is not.
        url: where text8 is fetched.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: arguments that do not agree (at once); a file that is unfit (in ``setup``, or in
            ``prepare_data`` if it is fetched).
        MissingDataError: no such file.
        ChecksumError: a file with another md5.
    """

    unit = "char"

    places = ("path", "data_dir", "url")

    def __init__(
        self,
        source: Literal["embedded", "text8", "file"] = "embedded",
        path: Text | None = None,
        length: Size = 32,
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        split: Shares = (0.9, 0.05, 0.05),
        crops: Literal["random", "chunks"] = "random",
        limit_eval: Size | None = None,
        alphabet: Text | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
        download: bool = True,
        data_dir: Text = "data",
        md5: Text | None = None,
        url: Text = TEXT8_URL,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        check_shares(split)
        if (path is None) != (source != "file") and source != "text8":
            raise DataError(
                f"source={source} {'needs a path' if source == 'file' else 'takes no path'}, got "
                f"path={path}"
            )
        if alphabet is not None and source != "file":
            raise DataError(f"source={source} has a fixed alphabet; alphabet is for source=file")
        self.source, self.length, self.crops, self.limit_eval = source, length, crops, limit_eval
        self.split = split
        self.alphabet = TEXT8_ALPHABET if source != "file" else alphabet
        self.fetched = source == "text8" and path is None
        self.file = (
            Path(data_dir) / "text8" if self.fetched else Path(path) if path is not None else None
        )
        self.expected_md5 = md5 or (TEXT8_MD5 if self.fetched else None)
        self.download, self.url = download, url
        self.entropy, self.precedence = None, None
        self.md5: str | None = None  # md5 of the text in use, known after setup

    def prepare_data(self) -> None:
        """Fetches text8 if it is wanted, allowed and not there."""
        if self.fetched and self.download and self.file is not None and not self.file.exists():
            fetch(self.url, self.file, self.expected_md5 or TEXT8_MD5)

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks, encodes and splits the text; a second call does nothing."""
        if self.md5 is not None:
            return
        name = str(self.file or "the embedded text")
        raw = self._read()
        md5 = hashlib.md5(raw).hexdigest()
        if self.expected_md5 is not None:
            check_md5(name, md5, self.expected_md5)
        codes = codepoints(raw, name)
        bounds = self._bounds(len(codes), name)
        if self.alphabet is not None:
            vocabulary = Vocabulary(tuple(self.alphabet))
            mend = (
                "add it to alphabet"
                if self.source == "file"
                else "use ordo.data.normalise on the file, or source=file"
            )
        else:
            vocabulary = Vocabulary.of(codes[: bounds[1]])
            mend = (
                "the vocabulary is built from the train split: enlarge that, normalise the text, "
                "or give alphabet"
            )
        tokens = vocabulary.encode(codes, name, mend)
        train, val, test = (tokens[start:end] for start, end in pairwise(bounds))
        if self.crops == "random":
            self.train_set = RandomCrops(train, self.length, self.seed)
        else:
            self.train_set = Rows(chunks(train, self.length))
        self.val_set = Rows(chunks(val, self.length, self.limit_eval))
        self.test_set = Rows(chunks(test, self.length, self.limit_eval))
        self._characters = [len(train), len(val), len(test)]
        self.vocabulary, self.vocab_size = list(vocabulary.symbols), len(vocabulary)
        self._decode = vocabulary.decode
        self.md5 = md5

    def _read(self) -> bytes:
        if self.file is None:
            return embedded_text().encode()
        if not self.file.is_file():
            mend = "check path"
            if self.fetched:
                mend = (
                    "call prepare_data() with download=True, or by hand: "
                    f"{by_hand(self.url, self.file)}"
                )
            raise MissingDataError(
                f"no such file: {self.file} (working folder {Path.cwd()}); {mend}"
            )
        # A character has at least one byte: a file with too few bytes is refused before reading.
        self._bounds(self.file.stat().st_size, str(self.file))
        return self.file.read_bytes()

    def _bounds(self, characters: int, name: str) -> list[int]:
        """Where the splits begin and end, (4,)."""
        if characters < self.length:
            what = "is empty" if characters == 0 else f"has {characters} characters"
            raise DataError(
                f"{name} {what}, fewer than one sequence of length={self.length}: use a longer "
                "text or less length"
            )
        bounds = split_bounds(characters, self.split)
        for split, share, (start, end) in zip(SPLITS, self.split, pairwise(bounds), strict=True):
            if end - start < self.length:
                raise DataError(
                    f"{name} ({characters} characters): its {split} split ({share:g} of it) has "
                    f"{end - start} characters, fewer than one sequence of length={self.length}; "
                    "use a text of at least "
                    f"{math.ceil((self.length + 1) / min(self.split))} characters, less length or "
                    "other shares in split"
                )
        return bounds

    def decode(self, tokens: Tensor) -> list[str]:
        return self._decode(tokens)

    def describe(self) -> dict[str, object]:
        return {
            "name": self.source if self.file is None or self.fetched else self.file.name,
            "source": self.source,
            "md5": self.md5,
            **super().describe(),
            "vocabulary": self.vocabulary,
            "characters": dict(zip(SPLITS, self._characters, strict=True)),
            "crops": self.crops,
        }

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints: the list of symbols, and the ``md5`` of the text."""
        return {"vocabulary": self.vocabulary, "md5": self.md5}

    def load_state_dict(self, state_dict: State) -> None:
        """Checks that the checkpoint's token ids mean the same here. Raises DataError."""
        if state_dict["vocabulary"] != self.vocabulary:
            saved = "".join(state_dict["vocabulary"])
            raise DataError(
                f"the checkpoint was trained with the vocabulary {saved!r}, this text has "
                f"{''.join(self.vocabulary)!r}; use the same text, or source=file with the "
                "checkpoint's alphabet"
            )
