"""Texts with blanks: a model keeps the given text and decodes the blanks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.text.tokenizer import Encoder
from ordo.data.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A part of a template is tokenised behind one of these, as the middle of a text.
BEFORE = ("a", "x", ".", "0", ",")


def check_blank(blank: str) -> None:
    """Raises DataError."""
    if len(blank) != 1:
        raise DataError(f"blank={blank!r} must be one character")


def template_tokens(
    template: str, blank: str, vocabulary: Vocabulary, length: int
) -> tuple[Tensor, Tensor]:
    """Tokens of a text of single characters, and which of them are known: (length,) int64 and bool.

    Positions after the end of the template are blanks. Raises DataError.
    """
    check_blank(blank)
    if blank in vocabulary.symbols:
        raise DataError(
            f"blank={blank!r} is a character of the model's vocabulary; choose another, such as "
            "blank='#'"
        )
    if len(template) > length:
        raise DataError(f"template has {len(template)} characters, the model {length}")
    known = torch.tensor([i < len(template) and template[i] != blank for i in range(length)])
    filled = "".join(c if c != blank else vocabulary.symbols[0] for c in template).ljust(
        length, vocabulary.symbols[0]
    )
    codes = np.array([ord(c) for c in filled], dtype=np.int64)
    return vocabulary.encode(
        codes, "template", f"it may hold {''.join(vocabulary.symbols)!r} and blanks"
    ).long(), known


def corpus_template(
    template: str, blank: str, tokenizer: PreTrainedTokenizerBase, length: int
) -> tuple[Tensor, Tensor]:
    """As ``template_tokens``, in the tokens of a tokenizer.

    A blank stands for one token, which often brings its own space: 'the__ of'. A special token that
    is written out is that token, as in training. The tokenizer's mask is refused, as the model does
    not have that token. Raises DataError if the tokens do not give the template back.
    """
    check_blank(blank)
    check_special(template, blank, tokenizer)
    ids: list[int | None] = []
    encoder = Encoder(tokenizer, None, None)
    for i, part in enumerate(template.split(blank)):
        ids += [None] * (i > 0) + (part_tokens(part, encoder, first=i == 0) if part else [])
    if len(ids) > length:
        raise DataError(f"template has {len(ids)} tokens, the model {length}")
    ids += [None] * (length - len(ids))
    return torch.tensor([i or 0 for i in ids]), torch.tensor([i is not None for i in ids])


def check_special(template: str, blank: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises DataError for the tokenizer's mask, and for special tokens that contain the blank."""
    mask = tokenizer.mask_token
    if isinstance(mask, str) and mask and mask in template:
        raise DataError(
            f"template has the tokenizer's mask {mask!r}, which is no blank of the model: write "
            f"{blank!r} for one"
        )
    cut = next(
        (token for token in tokenizer.all_special_tokens if blank in token and token in template),
        None,
    )
    if cut is not None:
        raise DataError(
            f"template has the special token {cut!r}, which holds the blank {blank!r}; choose "
            "another, such as blank='#'"
        )


def part_tokens(part: str, encoder: Encoder, first: bool) -> list[int]:
    """Ids of the text between two blanks, which decode to ``part`` again.

    Some tokenizers put a space before the beginning of a text. So only the first part is tokenised
    as a beginning; other parts are tokenised behind a character, as the middle of a text. Raises
    DataError if no ids decode to ``part``.
    """
    tokenizer, seen = encoder.tokenizer, ""
    for before in ("",) if first else BEFORE:
        start, whole = ([int(i) for i in encoder([text])[0]] for text in (before, before + part))
        text, shown = decoded(tokenizer, whole), decoded(tokenizer, start)
        if whole[: len(start)] == start and shown.lstrip(" ") == before:
            seen = seen or text[len(shown) :]
            if text == shown + part:
                return whole[len(start) :]
    told = (
        f"gives back {seen!r}: write that, if it is meant"
        if seen
        else "cannot take it apart from what stands before"
    )
    raise DataError(f"template: {part!r} cannot be kept as it is written, the tokenizer {told}")


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text of token ids; nothing for no ids."""
    return str(tokenizer.decode(ids)) if ids else ""
