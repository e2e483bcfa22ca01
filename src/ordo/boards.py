"""The cells of a Sudoku's grid, for its data and for its metrics."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


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
