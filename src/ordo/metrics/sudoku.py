"""Sudokus: which rows, columns and boxes of a grid break the rules, and the share solved."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ordo.boards import geometry


def values_by_unit(grids: Tensor, box: int) -> Tensor:
    """How often every value stands in every row, column and box (a *unit*) of a grid.

    Args:
        grids: (n, cells) integers in 0..side-1, with side = box * box and cells = side * side.

    Returns (n, 3 side, side) int64: rows, then columns, then boxes. Raises ValueError for another
    shape, and for values that no cell can have.
    """
    side = box * box
    if grids.ndim != 2 or grids.shape[1] != side * side:
        shape = tuple(grids.shape)
        raise ValueError(f"grids of boxes of {box} x {box} need shape (n, {side**2}), got {shape}")
    if bool(((grids < 0) | (grids >= side)).any()):
        raise ValueError(f"the values of a grid must lie in 0..{side - 1}")
    return (geometry(box)[1] @ one_hot(grids.long(), side).float()).long()


def violated_units(grids: Tensor, box: int) -> Tensor:
    """Which units lack a value: (n, 3 side) bool, rows, then columns, then boxes.

    A unit has as many cells as there are values, so a unit that lacks a value has another one more
    than once. Arguments and errors are those of ``values_by_unit``.
    """
    return (values_by_unit(grids, box) == 0).any(-1)


def repeated_cells(grids: Tensor, box: int) -> Tensor:
    """Cells whose value stands in another cell of their row, column or box too.

    Returns (n, cells) bool. Arguments and errors are those of ``values_by_unit``.
    """
    axes, _ = geometry(box)
    twice = values_by_unit(grids, box).unflatten(1, (3, -1)) > 1  # (n, 3, side, side)
    row = torch.arange(len(grids))[:, None]
    return torch.stack([twice[row, i, axes[i], grids] for i in range(3)]).any(0)


def sudoku_quality(
    grids: Tensor, box: int, given: Tensor | None = None, known: Tensor | None = None
) -> dict[str, float]:
    """How good filled grids are.

    * solved: share of the grids that break no rule and keep every clue; 1 is best.
    * violated_constraints: mean number of rows, columns and boxes of a grid that lack a value, of
      3 side; 0 is best.

    Args:
        grids: (n, cells) integers in 0..side-1, n at least 1.
        given, known: (n, cells): values, and bool where they are clues; None: there are no clues.

    Raises ValueError as ``values_by_unit`` does.
    """
    violated = violated_units(grids, box).sum(1)
    right = violated == 0
    if given is not None and known is not None:
        right &= ((grids == given) | ~known).all(1)
    return {
        "solved": right.double().mean().item(),
        "violated_constraints": violated.double().mean().item(),
    }
