"""Any ``AutoTokenizer``, as ordo uses it: ids of whole batches of documents, and text of ids."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ordo.data.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def is_hub_name(name: object) -> bool:
    """Whether a name can be one of the Hugging Face hub, ``NAME`` or ``OWNER/NAME``; no path."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII) is not None
        and ".." not in name
    )


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A tokenizer from the hub or from a folder. Raises MissingDataError."""
    from transformers import AutoTokenizer  # seconds to import, and only corpora need it

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"no tokenizer {name!r} ({str(error).strip().splitlines()[0]}); give data.tokenizer "
            "the name of one on the hub, or a folder"
        ) from error


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Tensor) -> list[str]:
    """Sequences (n, length) as text. The mask, id len(tokenizer), is ``_``; at the end, nothing."""
    texts = []
    for row in tokens.tolist():
        parts: list[list[int]] = [[]]
        while row and row[-1] == len(tokenizer):
            row.pop()
        for token in row:
            if token == len(tokenizer):
                parts.append([])
            else:
                parts[-1].append(token)
        texts.append("_".join(str(tokenizer.decode(part)) for part in parts))
    return texts


def piece(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """One token as text. A space at its beginning is kept.

    Tokenizers that write this space as ▁ drop it when they decode one token.
    """
    text, raw = str(tokenizer.decode([token])), tokenizer.convert_ids_to_tokens(token)
    return (
        f" {text}"
        if isinstance(raw, str) and raw.startswith("▁") and not text.startswith(" ")
        else text
    )


def token_id(tokenizer: PreTrainedTokenizerBase, token: str | None, where: str) -> int | None:
    """The id of bos, eos, cls, sep, or of a token itself.

    Raises DataError if there is no such token.
    """
    if token is None:
        return None
    value = (
        getattr(tokenizer, f"{token}_token_id", None)
        if token in ("bos", "eos", "cls", "sep")
        else tokenizer.get_vocab().get(token)
    )
    if value is None:
        raise DataError(
            f"{where}={token}: the tokenizer has no such token; choose bos, eos, cls, sep, one of "
            "its tokens, or null"
        )
    return int(value)


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of a tokenizer's rules and vocabulary; its name does not matter."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = (
        backend.to_str()
        if backend is not None
        else json.dumps(sorted(tokenizer.get_vocab().items()))
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Encoder:
    """Documents to ids, between the ids ``begin`` and ``end``; no other special tokens are added.

    If a document spells out the tokenizer's mask token, its letters are encoded as text: a model
    with that mask could not tell the token from a masked position. An Encoder can be pickled.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, begin: int | None, end: int | None
    ) -> None:
        self.tokenizer, self.backend = tokenizer, getattr(tokenizer, "backend_tokenizer", None)
        self.before, self.after = ([] if token is None else [token] for token in (begin, end))
        if self.backend is not None:
            # A copy that neither cuts nor pads, whatever the tokenizer's file says.
            self.backend = type(self.backend).from_str(self.backend.to_str())
            self.backend.no_truncation()
            self.backend.no_padding()
            # A copy that reads special tokens that are written out as text.
            self.plain = type(self.backend).from_str(self.backend.to_str())
            self.plain.encode_special_tokens = True

    def without_mask(self, text: str, ids: list[int]) -> list[int]:
        if self.tokenizer.mask_token_id is None or self.tokenizer.mask_token_id not in ids:
            return ids
        if self.backend is not None:
            return self.plain.encode(text, add_special_tokens=False).ids
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all documents, one after the other, and how many each document has.

        Returns (tokens,) uint32 and (documents,) int64.
        """
        if self.backend is not None:  # in parallel, without what transformers wraps around it
            found = (x.ids for x in self.backend.encode_batch_fast(texts, add_special_tokens=False))
        else:
            found = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        ids, sizes = array("I"), []
        for text, document in zip(texts, found, strict=True):
            document = self.without_mask(text, document)
            ids.extend([*self.before, *document, *self.after])
            sizes.append(len(self.before) + len(document) + len(self.after))
        return np.frombuffer(ids, dtype=np.uint32), np.array(sizes, dtype=np.int64)
