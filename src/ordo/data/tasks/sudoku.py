"""Sudoku: clues are given, the other cells decoded.

Puzzles are made here; a file of other puzzles may serve as the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from ordo.data.errors import MissingDataError
from ordo.data.loader import State, data_generator
from ordo.data.module import Batch, Rows
from ordo.data.tables.csv_file import read_text, split
from ordo.data.tasks.fresh import FreshData, FreshRows
from ordo.data.tasks.law import require
from ordo.data.text.vocabulary import Vocabulary
from ordo.settings import Count, Seed, Size, Some, Text, Whole, checked


@cache
def geometry(box: int) -> tuple[Tensor, Tensor]:
    """Where the cells of a grid with boxes of box x box cells lie.

    Returns:
        axes: (3, cells) int64, row, column and box of every cell.
        units: (3 side, cells) float32, 1 if a cell belongs to a row, column or box.
    """
    side = box * box
    row, column = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
    axes = torch.stack([row, column, row // box * box + column // box])
    units = (axes[:, None] == torch.arange(side)[:, None]).flatten(0, 1)
    return axes, units.float()


def eliminate(candidates: Tensor, box: int) -> Tensor:
    """Removes candidates until nothing more follows from single cells.

    Two rules are applied: a cell with one candidate excludes its value from the cell's row, column
    and box (naked single); a value with one possible cell in a row, column or box goes there
    (hidden single). A grid whose cells all have one candidate is solved, and has no other solution.
    A grid with a cell without candidates has no solution.

    candidates: (n, cells, side) bool, as is the result.
    """
    _, units = geometry(box)
    peers = ((units.T @ units) > 0).float() - torch.eye(units.shape[1])
    while True:
        single = candidates & (candidates.sum(-1, keepdim=True) == 1)
        left = candidates & ~((peers @ single.float()) > 0)
        only_here = ((units.T @ ((units @ left.float()) == 1).float()) > 0) & left
        left = torch.where(only_here.any(-1, keepdim=True), only_here, left)
        if torch.equal(left, candidates):
            return left
        candidates = left


def solved(candidates: Tensor) -> Tensor:
    """Which grids are solved, (n,) bool."""
    return (candidates.sum(-1) == 1).all(-1)


def random_grids(n: int, box: int, generator: torch.Generator) -> Tensor:
    """Full grids (n, cells) int64 in 0..side-1.

    Random values go to cells of fewest candidates; a grid that contradicts itself is begun again.
    """
    cells, side = box**4, box**2
    everything = torch.ones(n, cells, side, dtype=torch.bool)
    candidates, done = everything.clone(), []
    while sum(map(len, done)) < n:
        number = candidates.sum(-1)
        fewest = torch.where(number > 1, number, side + 1) + torch.rand(
            number.shape, generator=generator
        )
        cell = fewest.argmin(1, keepdim=True)[..., None].expand(-1, -1, side)
        weight = (
            torch.rand(len(candidates), side, generator=generator)
            * candidates.gather(1, cell)[:, 0]
        )
        chosen = torch.nn.functional.one_hot(weight.argmax(1), side).bool()
        candidates = eliminate(candidates.scatter(1, cell, chosen[:, None]), box)
        finished = solved(candidates)
        done.append(candidates[finished].to(torch.int8).argmax(-1))
        again = finished | (candidates.sum(-1) == 0).any(-1)
        candidates = torch.where(again[:, None, None], everything, candidates)
    return torch.cat(done)[:n]


def random_clues(
    grids: Tensor, box: int, clues: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Which cells (n, cells) bool of full grids are given.

    Cells are taken away in random order, down to a number that is uniform on clues[0]..clues[1]. A
    cell is taken away only if ``eliminate`` still solves the puzzle, which proves that the solution
    is unique.
    """
    n, cells = grids.shape
    given = torch.ones(n, cells, dtype=torch.bool)
    target = torch.randint(clues[0], clues[1] + 1, (n,), generator=generator)
    value = torch.nn.functional.one_hot(grids, box * box).bool()
    for cell in torch.rand(n, cells, generator=generator).argsort(1).T:
        wants = (given.sum(1) > target).nonzero()[:, 0]
        if not len(wants):
            break
        fewer = given[wants].scatter(1, cell[wants, None], False)
        still = solved(eliminate(value[wants] | ~fewer[..., None], box))
        given[wants[still]] = fewer[still]
    return given


def transformed(
    grids: Tensor, given: Tensor, box: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Every puzzle (n, cells) under a random symmetry.

    Values are renamed, rows and columns permuted within and between bands, and grids transposed.
    """
    n, side = len(grids), box * box

    def lines() -> Tensor:
        band = torch.rand(n, box, generator=generator).argsort(1).repeat_interleave(box, 1)
        return (band + torch.rand(n, side, generator=generator)).argsort(1)

    cell = lines()[:, :, None] * side + lines()[:, None]
    flip = torch.rand(n, generator=generator) < 0.5
    cell = torch.where(flip[:, None, None], rearrange(cell, "n row column -> n column row"), cell)
    cell = rearrange(cell, "n row column -> n (row column)")
    name = torch.rand(n, side, generator=generator).argsort(1)
    return name.gather(1, grids.gather(1, cell)), given.gather(1, cell)


def read_puzzles(path: str | Path, box: int) -> Rows:
    """A CSV file with a heading and two columns, puzzle and solution.

    Each cell of the file is a line of digits, 0 for an empty cell of the grid. Whether a puzzle has
    a second solution is not checked.

    Raises MissingDataError; DataError naming the first line that is not a puzzle with its solution.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(
            f"no puzzles at {file}; give data.path another file, or null for puzzles that are made "
            "here"
        )
    cells, side = box**4, box**2
    _, units = geometry(box)
    heading, *rows = split(read_text(file), ",", str(file))[0] or [[]]
    require(
        not "".join(heading).isdigit(),
        f"{file}, line 1: needs a heading, such as puzzle,solution, before the first puzzle",
    )
    require(bool(rows), f"{file} holds no puzzles")
    for number, row in enumerate(rows, 2):
        fits = len(row) == 2 and all(
            len(x) == cells and x.isascii() and x.isdigit() and int(max(x)) <= side for x in row
        )
        require(
            fits,
            f"{file}, line {number}: needs a puzzle and its solution, {cells} digits of 0..{side} "
            "each",
        )
    puzzle, solution = (torch.tensor([[int(c) for c in row[i]] for row in rows]) for i in (0, 1))
    given = puzzle > 0
    counts = units @ torch.nn.functional.one_hot(solution, side + 1)[..., 1:].float()
    bad = ((counts != 1).any(-1).any(-1) | (given & (puzzle != solution)).any(-1)).nonzero()
    require(
        not len(bad),
        f"{file}, line {int(bad[0]) + 2 if len(bad) else 0}: not a solution of its puzzle",
    )
    return Rows(solution - 1, given)


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
        generator = data_generator(0x50D0, self.box, split)
        grids = random_grids(n, self.box, generator)
        return Rows(grids, random_clues(grids, self.box, self.clues, generator))

    def train_rows(self, rank: int, world_size: int) -> FreshPuzzles:
        return FreshPuzzles(self.batch_size, self.seed, rank, world_size, self.bank, self.box)

    def decode(self, tokens: Tensor) -> list[str]:
        """Grids (n, cells) as lines of digits from 1; the mask is ``_``."""
        return self.vocabulary.decode(tokens)

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints: ``vocabulary``, the digits by their ids."""
        return {"vocabulary": list(self.vocabulary.symbols)}

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
