"""Tokens to text or a table without the data: from the states that data modules leave in checkpoints and saved models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.table import TableData
from ordo.data.tables.table_file import cells
from ordo.data.tasks.law import Law
from ordo.data.tasks.sudoku import SudokuData
from ordo.data.text.characters import TextData
from ordo.data.text.corpus import CorpusData
from ordo.data.text.smiles import SmilesData, SmilesVocabulary
from ordo.data.text.tokenizer import decode, fingerprint, is_hub_name, load_tokenizer, piece
from ordo.data.text.vocabulary import Vocabulary

KINDS = (
    TextData,
    SudokuData,
    CorpusData,
    SmilesData,
    TableData,
)  # whose state says what tokens mean
DTYPES = {"float64": torch.float64, "int64": torch.int64}


class Decoding:
    """What tokens of a model mean.

    Args:
        states: name of a data module's class -> its ``state_dict``, of which those of ``KINDS`` are used.
        task: the law of a synthetic task, or None.
        tokenizer: name or folder of the tokenizer of a corpus; None: the name that the state has, which must be one of the hub, because
            a state may come from a stranger's file, and such a file may not say where on this machine something is read.
    """

    def __init__(
        self, states: Mapping[str, Any], task: Law | None = None, tokenizer: str | None = None
    ):
        self.states = {
            kind.__qualname__: states[kind.__qualname__]
            for kind in KINDS
            if kind.__qualname__ in states
        }
        self.task, self._tokenizer_name = task, tokenizer

    def check(self) -> None:
        """Looks at everything that the states have to say, but for the tokenizer, which may have to be fetched.

        Raises DataError, or KeyError, TypeError and their like for states of another form.
        """
        for state in self.states.values():
            state.keys()
        for vocabulary in (self.vocabulary, self.molecules):
            if vocabulary is not None:
                "".join(vocabulary.symbols)
        if self.table is not None:
            reading = self.table["reading"]
            "".join((*reading["missing"], reading["delimiter"]))
            if len(set(self._codec.names)) < len(self._codec.columns) or not self._codec.columns:
                raise DataError(
                    "what a file says of the columns is damaged: there are none, or two of one name"
                )
        if self.lengths is not None:
            self.lengths.clamp(min=1)
        corpus = self.states.get(CorpusData.__qualname__)
        if corpus is not None:
            "".join((corpus["tokenizer"], corpus["tokenizer_fingerprint"]))

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Of single characters: text, or the digits of a Sudoku."""
        state = self.states.get(TextData.__qualname__) or self.states.get(SudokuData.__qualname__)
        return None if state is None else Vocabulary(tuple(state["vocabulary"]))

    @property
    def molecules(self) -> SmilesVocabulary | None:
        """Of SMILES strings."""
        state = self.states.get(SmilesData.__qualname__)
        return None if state is None else SmilesVocabulary(tuple(state["vocabulary"]))

    @property
    def table(self) -> dict[str, Any] | None:
        """State of a table's data module: how its files are read, and its codec."""
        return self.states.get(TableData.__qualname__)

    @property
    def lengths(self) -> Tensor | None:
        """Of documents that the model was trained on, (m,) int64, as many of each as there should be; None: all sequences are whole."""
        lengths = (self.states.get(CorpusData.__qualname__) or {}).get("lengths")
        return None if lengths is None else torch.tensor(lengths)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of a corpus, found by its name, or None. Raises DataError where it is another one now, or has to be named."""
        state = self.states.get(CorpusData.__qualname__)
        if state is None:
            return None
        name = self._tokenizer_name or state["tokenizer"]
        if self._tokenizer_name is None and not is_hub_name(name):
            raise DataError(
                f"the model's tokenizer is in the folder {name}, and a file may not say what is read here: give tokenizer={name}, or "
                "where it lies now"
            )
        tokenizer = load_tokenizer(name)
        if fingerprint(tokenizer) != state["tokenizer_fingerprint"]:
            raise DataError(
                f"the tokenizer {name} is not the one that the checkpoint was trained with"
            )
        return tokenizer

    def __call__(self, tokens: Tensor, seed: int = 0) -> list[str] | pd.DataFrame:
        """Sequences (n, length) as n strings, or the rows of a table, whose numbers are redrawn within their bins, a function of ``seed``.

        Raises DataError where nothing is known of the tokens.
        """
        if self.table is not None:
            return self._codec.decode(tokens, seed)
        vocabulary = self.vocabulary or self.molecules
        if vocabulary is not None:
            return vocabulary.decode(tokens.cpu())
        if self.tokenizer is not None:
            return decode(self.tokenizer, tokens)
        if self.task is not None:
            return self.task.decode(tokens.cpu())
        raise DataError("the model was saved without a word on its data: decode its tokens by hand")

    @property
    def layout(self) -> dict[str, Any]:
        """How positions lie, as arguments of ``ordo.plots.Layout``: a table, a Sudoku, else text."""
        if self.table is not None:
            return {"kind": "table", "names": self._codec.names}
        if SudokuData.__qualname__ in self.states:
            side = len(self.states[SudokuData.__qualname__]["vocabulary"])
            return {"kind": "board", "columns": side, "box": math.isqrt(side)}
        return {"kind": "text"}

    def symbols(self, tokens: Tensor, seed: int = 0) -> list[list[str]]:
        """Sequences (n, length) token by token, without the masks at their end, where documents have no token; of a table as
        ``__call__`` decodes it. Raises DataError as ``symbol``.
        """
        if self.table is not None:
            return cells_of(self._codec.decode(tokens, seed))
        rows = []
        for row in tokens.tolist():
            while row and row[-1] == self._mask:
                row.pop()
            rows.append([self.symbol(position, token) for position, token in enumerate(row)])
        return rows

    def symbol(self, position: int, token: int) -> str:
        """One token: of a table its column's value, or the range of its bin; its number where nothing is known of it.

        Raises DataError where a tokenizer is not to be had.
        """
        if self.table is not None:
            return self._codec.columns[position].symbol(token)
        vocabulary = self.vocabulary or self.molecules
        if vocabulary is not None:
            return vocabulary.symbols[token]
        return piece(self.tokenizer, token) if self.tokenizer is not None else str(token)

    @cached_property
    def _codec(self) -> TableCodec:
        assert self.table is not None
        return TableCodec.from_state_dict(self.table["codec"])

    @cached_property
    def _mask(self) -> int | None:
        meaning = self.vocabulary or self.molecules or self.tokenizer
        return (
            len(meaning)
            if meaning is not None
            else None
            if self.task is None
            else self.task.vocab_size
        )


def cells_of(frame: pd.DataFrame) -> list[list[str]]:
    """A table cell by cell as strings, rows of columns; empty where a value is missing."""
    return [list(row) for row in zip(*(cells(frame[name]) for name in frame.columns), strict=True)]


def to_plain(state: Any) -> Any:
    """Values and tensors of a state as JSON has them, exactly."""
    if isinstance(state, Tensor):
        return {"tensor": state.tolist(), "dtype": str(state.dtype).removeprefix("torch.")}
    if isinstance(state, Mapping):
        return {name: to_plain(value) for name, value in state.items()}
    return [to_plain(value) for value in state] if isinstance(state, list | tuple) else state


def from_plain(state: Any) -> Any:
    """The values that ``to_plain`` was given. Raises DataError for a tensor of a dtype that no state has."""
    if isinstance(state, list):
        return [from_plain(value) for value in state]
    if not isinstance(state, dict):
        return state
    if state.keys() != {"tensor", "dtype"}:
        return {name: from_plain(value) for name, value in state.items()}
    if state["dtype"] not in DTYPES:
        raise DataError(
            f"a saved tensor has dtype {state['dtype']!r}, not one of {', '.join(DTYPES)}"
        )
    return torch.tensor(state["tensor"], dtype=DTYPES[state["dtype"]])
