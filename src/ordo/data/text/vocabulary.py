"""Characters to token ids and back."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ordo.data.errors import DataError

TEXT8_ALPHABET = " abcdefghijklmnopqrstuvwxyz"
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def normalise(text: str) -> str:
    """Text in text8's 27 symbols.

    Letters become lower case, digits are spelled out one by one, and runs of anything else become
    one space. These are the last steps of ``wikifil.pl`` (http://mattmahoney.net/dc/textdata.html);
    accented letters become spaces there too.
    """
    text = re.sub("[0-9]", lambda digit: f" {_DIGITS[int(digit[0])]} ", text.lower())
    return re.sub("[^a-z]+", " ", text).strip()


def codepoints(raw: bytes, name: str) -> np.ndarray:
    """UTF-8 bytes as an array (characters,) of code points: uint8 if all are ASCII, else uint32.

    A byte-order mark is left out. Raises DataError if the bytes are not UTF-8.
    """
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(
            f"{name} is not UTF-8 but UTF-16, as its byte-order mark says: convert it (iconv -f "
            "UTF-16 -t UTF-8)"
        )
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if raw.isascii():
        return np.frombuffer(raw, dtype=np.uint8)
    try:
        return np.frombuffer(raw.decode("utf-8").encode("utf-32-le"), dtype="<u4")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8: byte {raw[error.start]:#04x} at offset {error.start} "
            f"({error.reason}); the file is "
            "corrupt or in another encoding: fetch it again, or convert it (iconv -f latin1 -t "
            "utf-8)"
        ) from None


@dataclass(frozen=True)
class Vocabulary:
    """Characters in the order of their token ids.

    Raises DataError for no characters, a character twice, or a symbol that is not one character.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if (
            not self.symbols
            or len(set(self.symbols)) < len(self.symbols)
            or any(len(s) != 1 for s in self.symbols)
        ):
            raise DataError(
                "a vocabulary needs one or more distinct single characters, got "
                f"{''.join(self.symbols)!r}"
            )

    @classmethod
    def of(cls, codes: np.ndarray) -> Vocabulary:
        """The distinct characters among code points (characters,), sorted."""
        seen = np.zeros(int(codes.max()) + 1, dtype=bool)
        seen[codes] = True
        return cls(tuple(map(chr, np.flatnonzero(seen))))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, codes: np.ndarray, name: str, mend: str) -> Tensor:
        """Code points (characters,) as token ids: uint8 below 256 symbols, else int32.

        name: the file, and mend: the advice, for the message. Raises DataError for a character
        outside the vocabulary.
        """
        unknown = len(self)
        ids = [ord(symbol) for symbol in self.symbols]
        table = np.full(
            max(int(codes.max()), *ids) + 1, unknown, dtype=np.uint8 if unknown < 256 else np.int32
        )
        table[ids] = np.arange(unknown)
        tokens = table[codes]
        if tokens.max() == unknown:
            offset = int(np.argmax(tokens == unknown))
            raise DataError(
                f"{name}: character {chr(codes[offset])!r} at offset {offset} (counted in "
                "characters) is not one of "
                f"the {unknown} of the vocabulary {''.join(self.symbols[:80])!r}; {mend}"
            )
        return torch.from_numpy(tokens)

    def decode(self, tokens: Tensor) -> list[str]:
        """Token ids (n, length) as n strings; the mask (id V) is shown as ``_``.

        Raises DataError for an id below 0 or above V.
        """
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) <= len(self)):
            raise DataError(
                f"token ids must be in 0..{len(self)} (the last is the mask), got one outside"
            )
        table = np.array([*self.symbols, "_"])
        return ["".join(row) for row in table[tokens.cpu().numpy()]]
