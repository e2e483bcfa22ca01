"""What tokens mean, without the data.

Data modules leave their states in checkpoints and saved models; these states are enough to turn
tokens into text or a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

import pandas as pd
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.ids import IdsData, ids_as_text
from ordo.data.in_memory import RowsData
from ordo.data.loader import State
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

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# classes whose state says what tokens mean
KINDS = (
    TextData,
    SudokuData,
    CorpusData,
    SmilesData,
    TableData,
    IdsData,
    RowsData,
)
DTYPES = {"float64": torch.float64, "int64": torch.int64}


class Layout(TypedDict, total=False):
    """How positions lie: arguments of ``ordo.plots.trace_page``."""

    layout: str
    names: list[str]
    columns: int
    box: int


class Decoding:
    """What the tokens of a model mean.

    Args:
        states: name of a data module's class -> its ``state_dict``. States of classes that are not
            in ``KINDS`` are ignored.
        task: the law of a synthetic task, or None.
        tokenizer: name or folder of a corpus' tokenizer. None: the name in the state, which must
            then be a name on the hub: a state may come from a stranger's file, and such a file must
            not choose a path to read on this machine.
    """

    def __init__(
        self, states: Mapping[str, State], task: Law | None = None, tokenizer: str | None = None
    ):
        self.states = {
            kind.__qualname__: states[kind.__qualname__]
            for kind in KINDS
            if kind.__qualname__ in states
        }
        self.task, self._tokenizer_name = task, tokenizer

    @property
    def unit(self) -> str:
        """What a token is, see ``SequenceData.unit``."""
        known = (kind.unit for kind in KINDS if kind.__qualname__ in self.states)
        return next(known, "token")

    def check(self) -> None:
        """Reads everything that the states say. The tokenizer is left out, as it may need fetching.

        Raises DataError; or KeyError, TypeError, ValueError and the like for a state of another
        form.
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
        if self.ids is not None and (type(self.ids) is not int or self.ids < 1):
            raise ValueError("vocab_size must be a whole number from 1")
        sudoku = self.states.get(SudokuData.__qualname__)
        if sudoku is not None:
            side = len(sudoku["vocabulary"])
            least, most = sudoku.get("clues") or (0, 0)  # an older file has no clues
            whole = type(least) is type(most) is int
            if side not in (4, 9) or not (whole and 0 <= least <= most < side * side):
                raise ValueError("Sudokus have 4 or 9 digits, and fewer clues than cells")
        corpus = self.states.get(CorpusData.__qualname__)
        if corpus is not None:
            "".join((corpus["tokenizer"], corpus["tokenizer_fingerprint"]))

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The single characters of a text, or the digits of a Sudoku; None for other data."""
        state = self.states.get(TextData.__qualname__) or self.states.get(SudokuData.__qualname__)
        return None if state is None else Vocabulary(tuple(state["vocabulary"]))

    @property
    def molecules(self) -> SmilesVocabulary | None:
        """The tokens of SMILES strings; None for other data."""
        state = self.states.get(SmilesData.__qualname__)
        return None if state is None else SmilesVocabulary(tuple(state["vocabulary"]))

    @property
    def ids(self) -> int | None:
        """The vocabulary's size of data that are ids and nothing else; None for other data."""
        for kind in (IdsData, RowsData):
            if kind.__qualname__ in self.states:
                return self.states[kind.__qualname__]["vocab_size"]
        return None

    @property
    def readable(self) -> bool:
        """Whether something says what tokens mean, as text or as a table."""
        return bool(self.states) or self.task is not None

    @property
    def table(self) -> State | None:
        """State of a table's data module: its codec, and how its files are read.

        None for other data.
        """
        return self.states.get(TableData.__qualname__)

    @property
    def lengths(self) -> Tensor | None:
        """Lengths (m,) int64 of documents, distributed as in the training data.

        None: every sequence is whole.
        """
        lengths = (self.states.get(CorpusData.__qualname__) or {}).get("lengths")
        return None if lengths is None else torch.tensor(lengths)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer of a corpus, found by its name; None for other data.

        Raises DataError if the name leads to another tokenizer now, or if a name has to be given.
        """
        state = self.states.get(CorpusData.__qualname__)
        if state is None:
            return None
        name = self._tokenizer_name or state["tokenizer"]
        if self._tokenizer_name is None and not is_hub_name(name):
            raise DataError(
                f"the model's tokenizer is in the folder {name}, and a file may not say what is "
                f"read here: give tokenizer={name}, or "
                "where it lies now"
            )
        tokenizer = load_tokenizer(name)
        if fingerprint(tokenizer) != state["tokenizer_fingerprint"]:
            raise DataError(
                f"the tokenizer {name} is not the one that the checkpoint was trained with"
            )
        return tokenizer

    def __call__(self, tokens: Tensor, seed: int = 0) -> list[str] | pd.DataFrame:
        """Sequences as text, or as the rows of a table.

        Args:
            tokens: (n, length).
            seed: the numbers of a table are drawn anew within their bins, as a function of
                ``seed``.

        Returns n strings, or a table of n rows. Raises DataError if nothing says what the tokens
        mean.
        """
        if self.table is not None:
            return self._codec.decode(tokens, seed)
        vocabulary = self.vocabulary or self.molecules
        if vocabulary is not None:
            return vocabulary.decode(tokens.cpu())
        if self.tokenizer is not None:
            return decode(self.tokenizer, tokens)
        if self.ids is not None:
            return ids_as_text(tokens, self.ids)
        if self.task is not None:
            return self.task.decode(tokens.cpu())
        raise DataError("the model was saved without a word on its data: decode its tokens by hand")

    @property
    def layout(self) -> dict[str, Any]:
        """How positions lie: arguments of ``ordo.plots.Layout``, of a table, a Sudoku or text."""
        if self.table is not None:
            return {"kind": "table", "names": self._codec.names}
        if SudokuData.__qualname__ in self.states:
            side = len(self.states[SudokuData.__qualname__]["vocabulary"])
            return {"kind": "board", "columns": side, "box": math.isqrt(side)}
        return {"kind": "text"}

    def symbols(self, tokens: Tensor, seed: int = 0) -> list[list[str]]:
        """Sequences (n, length) token by token, without the masks at the end of a document.

        The cells of a table are as ``__call__`` decodes them. Raises DataError as ``symbol`` does.
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
        """One token as text.

        In a table: the column's value, or the range of its bin. Where nothing says what the token
        means: its number. Raises DataError if the tokenizer is not available.
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
        if meaning is not None:
            return len(meaning)
        return self.ids if self.task is None else self.task.vocab_size


def cells_of(frame: pd.DataFrame) -> list[list[str]]:
    """A table cell by cell as strings, rows of columns; empty where a value is missing."""
    return [list(row) for row in zip(*(cells(frame[name]) for name in frame.columns), strict=True)]


def to_plain(state: object) -> Any:
    """The values and tensors of a state in a form that JSON holds exactly."""
    if isinstance(state, Tensor):
        return {"tensor": state.tolist(), "dtype": str(state.dtype).removeprefix("torch.")}
    if isinstance(state, Mapping):
        return {name: to_plain(value) for name, value in state.items()}
    return [to_plain(value) for value in state] if isinstance(state, list | tuple) else state


def from_plain(state: Any) -> Any:
    """The values that ``to_plain`` was given.

    Raises DataError for a tensor of a dtype that no state has.
    """
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
