"""Sudoku: clues are given, the other cells decoded.

Puzzles are made here; a file of other puzzles may serve as the test set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ordo.boards import geometry
from ordo.data.loader import State, data_generator
from ordo.data.module import Batch, Rows
from ordo.data.tasks.fresh import FreshData, FreshRows
from ordo.data.tasks.law import require
from ordo.data.tasks.sudoku_file import read_puzzles
from ordo.data.tasks.sudoku_grids import made_puzzles, transformed
from ordo.data.text.vocabulary import Vocabulary
from ordo.settings import Count, Seed, Size, Some, Text, Whole, checked


@dataclass(eq=False)
class FreshPuzzles(FreshRows):
    """Puzzles from a bank, under random symmetries."""

    bank: Rows
    box: int

    def whole(self, n: int, generator: torch.Generator) -> Batch:
        bank = self.bank.batch(torch.randint(len(self.bank), (n,), generator=generator))
        assert bank.known is not None
        return Batch(*transformed(bank.tokens, bank.known, self.box, generator))


@checked
class SudokuData(FreshData):
    """Puzzles with one solution; clues are known, the other cells are decoded.

    Naked and hidden singles find the solution, so its entropy given the clues is 0. Value v is
    token v - 1.

    Training puzzles are ``bank`` grids under random symmetries, never twice the same; validation
    and test puzzles come from banks of their own, which do not depend on ``seed``.

    Args:
        box: cells of a box's side: 3 for 9 x 9, 2 for 4 x 4.
        clues: least and most given cells; a puzzle keeps more if fewer do not suffice.
        bank: training grids before symmetries.
        path: test puzzles, see ``read_puzzles``; None: made here.
        batches_per_epoch: training batches that Lightning calls an epoch.
        eval_size: puzzles in the validation set, and in a test set that is made here.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: clues that do not agree; an unfit file.
        MissingDataError: no such file.
    """

    unit = "cell"
    entropy, precedence = 0.0, None

    places = ("path",)

    def __init__(
        self,
        box: Literal[2, 3] = 3,
        clues: tuple[Whole, Whole] = (28, 40),
        bank: Size = 1000,
        path: Text | None = None,
        batches_per_epoch: Count = 1000,
        eval_size: Size = 500,
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        require(
            clues[0] <= clues[1] < box**4,
            f"clues must be [least, most] below {box**4}, got {list(clues)}",
        )
        self.box, self.clues, self.bank_size, self.path = box, clues, bank, path
        self.batches_per_epoch, self.eval_size = batches_per_epoch, eval_size
        self.length, self.vocab_size = box**4, box**2
        self.vocab_sizes = [self.vocab_size] * self.length
        self.coordinates = geometry(box)[0].tolist()
        self.labels = [
            f"row {row + 1}, column {column + 1}"
            for row, column in zip(*self.coordinates[:2], strict=True)
        ]
        self.vocabulary = Vocabulary(tuple("123456789"[: box * box]))

    def setup(self, stage: str | None = None) -> None:
        """Makes the puzzles, some 15 ms each on a CPU; a second call does nothing."""
        if hasattr(self, "test_set"):
            return
        test = None if self.path is None else read_puzzles(self.path, self.box)
        self.bank = self.puzzles(self.bank_size, 0)
        self.val_set = self.puzzles(self.eval_size, 1)
        self.test_set = test or self.puzzles(self.eval_size, 2)

    def puzzles(self, n: int, split: int) -> Rows:
        """n puzzles that depend on the puzzle settings and the number of the split only."""
        return made_puzzles(n, self.box, self.clues, data_generator(0x50D0, self.box, split))

    def train_rows(self, rank: int, world_size: int) -> FreshPuzzles:
        return FreshPuzzles(self.batch_size, self.seed, rank, world_size, self.bank, self.box)

    def decode(self, tokens: Tensor) -> list[str]:
        """Grids (n, cells) as lines of digits from 1; the mask is ``_``."""
        return self.vocabulary.decode(tokens)

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints.

        ``vocabulary``, the digits by their ids; ``clues``, for puzzles to sample solutions of.
        """
        return {"vocabulary": list(self.vocabulary.symbols), "clues": list(self.clues)}

    def load_state_dict(self, state_dict: State) -> None:
        """Nothing: the digits follow from the grid's size, which is compared with the model's."""

    def describe(self) -> dict[str, object]:
        return {
            "name": "sudoku",
            **super().describe(),
            "clues": list(self.clues),
            "entropy": self.entropy,
            "bank": self.bank_size,
            "test_file": self.path,
        }
