"""Files of Sudokus: puzzles with their solutions, or puzzles alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ordo.boards import geometry
from ordo.data.errors import MissingDataError
from ordo.data.module import Rows
from ordo.data.tables.csv_file import read_text, split
from ordo.data.tasks.law import require


def read_puzzles(path: str | Path, box: int) -> Rows:
    """A CSV file with a heading and two columns, puzzle and solution.

    Each cell of the file is a line of digits, 0 for an empty cell of the grid. Whether a puzzle has
    a second solution is not checked.

    Raises MissingDataError; DataError naming the first line that is not a puzzle with its solution.
    """
    rows = _rows(Path(path), "give data.path another file, or null for puzzles that are made here")
    puzzle, solution = (_digits(path, rows, box, i, 2) for i in (0, 1))
    _, units = geometry(box)
    given = puzzle > 0
    counts = units @ torch.nn.functional.one_hot(solution, box * box + 1)[..., 1:].float()
    bad = ((counts != 1).any(-1).any(-1) | (given & (puzzle != solution)).any(-1)).nonzero()
    require(
        not len(bad),
        f"{path}, line {int(bad[0]) + 2 if len(bad) else 0}: not a solution of its puzzle",
    )
    return Rows(solution - 1, given)


def read_clues(path: str | Path, box: int) -> Rows:
    """The puzzles of a file as of ``read_puzzles``, whose second column may be absent.

    The solutions are not looked at, and tokens of empty cells mean nothing. Raises
    MissingDataError; DataError naming the first line that is no puzzle, or whose clues break the
    rules.
    """
    rows = _rows(Path(path), "name another file")
    puzzle = _digits(path, rows, box, 0, len(rows[0]) if len(rows[0]) in (1, 2) else 1)
    _, units = geometry(box)
    counts = units @ torch.nn.functional.one_hot(puzzle, box * box + 1)[..., 1:].float()
    bad = (counts > 1).any(-1).any(-1).nonzero()
    require(
        not len(bad),
        f"{path}, line {int(bad[0]) + 2 if len(bad) else 0}: a digit stands twice in a row, column "
        "or box",
    )
    return Rows((puzzle - 1).clamp(min=0), puzzle > 0)


def _rows(file: Path, mend: str) -> list[list[str]]:
    """The lines below the heading, cell by cell."""
    if not file.is_file():
        raise MissingDataError(f"no puzzles at {file}; {mend}")
    heading, *rows = split(read_text(file), ",", str(file))[0] or [[]]
    require(
        not "".join(heading).isdigit(),
        f"{file}, line 1: needs a heading, such as puzzle,solution, before the first puzzle",
    )
    require(bool(rows), f"{file} holds no puzzles")
    return rows


def _digits(path: str | Path, rows: list[list[str]], box: int, column: int, columns: int) -> Tensor:
    """One column of the lines as digits (n, cells) int64, 0 for an empty cell."""
    cells, side = box**4, box**2
    what = "a puzzle and its solution" if columns == 2 else "a puzzle"
    for number, row in enumerate(rows, 2):
        fits = len(row) == columns and all(
            len(x) == cells and x.isascii() and x.isdigit() and int(max(x)) <= side for x in row
        )
        require(
            fits,
            f"{path}, line {number}: needs {what}, {cells} digits of 0..{side}"
            + (" each" if columns == 2 else ""),
        )
    return torch.tensor([[int(digit) for digit in row[column]] for row in rows])
