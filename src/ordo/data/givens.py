"""What sequences have before the rest is drawn, where a model is of puzzles or of graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ordo.data.decoding import Decoding
from ordo.data.loader import data_generator
from ordo.data.module import Batch
from ordo.data.tasks.sudoku import SudokuData
from ordo.data.tasks.sudoku_file import read_clues
from ordo.data.tasks.sudoku_grids import made_puzzles
from ordo.data.tasks.task_data import with_known

# Least and most clues by the side of a box, for models saved without a word on theirs.
CLUES = {2: (4, 8), 3: (28, 40)}


def box_of(decoding: Decoding) -> int | None:
    """Cells of a box's side, 2 or 3, of a model of Sudokus; None for other models."""
    state = decoding.states.get(SudokuData.__qualname__)
    return None if state is None else math.isqrt(len(state["vocabulary"]))


def made_givens(decoding: Decoding, n: int, seed: int) -> Batch | None:
    """n sequences whose known positions are to be kept; None for a model that is given nothing.

    They are made as the training data were: new Sudokus with one solution, new draws of a task. The
    solution is left out: the tokens of unknown positions are 0.
    """
    box = box_of(decoding)
    if box is not None:
        state: Mapping[str, Any] = decoding.states[SudokuData.__qualname__]
        generator = data_generator(0x50D0, box, 3, seed)  # not one of the splits' three
        puzzles = made_puzzles(n, box, state.get("clues") or CLUES[box], generator)
        made = Batch(puzzles.tokens, puzzles.known)
    elif decoding.task is not None and decoding.task.known is not None:
        made = with_known(decoding.task.sample(n, data_generator(3, seed)), decoding.task)
    else:
        return None
    return made._replace(tokens=made.tokens * made.given)


def givens_of_file(decoding: Decoding, path: str | Path) -> Batch | None:
    """The puzzles of a CSV file, see ``read_clues``; None for a model of anything but Sudokus.

    Raises DataError.
    """
    box = box_of(decoding)
    if box is None:
        return None
    puzzles = read_clues(path, box)
    return Batch(puzzles.tokens, puzzles.known)
