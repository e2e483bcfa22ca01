"""The order of a board's cells, such as those of a Sudoku, as a board."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from ordo.plots.figure import Values, array, new_figure, whole_numbers
from ordo.plots.order import RANKS

WRITTEN_OUT = 9  # cells of a line up to which every cell has its number
SIZE = 4.4  # inches
MOST_TICKS = 16


def rank_board(expected_rank: Values, columns: int, box: int | None = None) -> Figure:
    """The mean rank of every cell, as a colour and as a number, where the cell lies.

    Args:
        expected_rank: (cells,), from 1, line by line; NaN, shown in grey, for a cell that is given.
        columns: cells of a line.
        box: side of the boxes that have a stronger line around them; None: there are no boxes.

    Raises ValueError for cells that do not make whole lines.
    """
    rank = array(expected_rank)
    if rank.ndim != 1 or rank.size == 0 or columns < 1 or rank.size % columns:
        raise ValueError(f"{rank.shape} ranks do not make lines of {columns} cells")
    board = rank.reshape(-1, columns)
    lines = len(board)
    decoded = int(np.isfinite(rank).sum())
    figure = new_figure(SIZE + 1.0, SIZE * lines / columns + 0.4)
    figure.set_layout_engine("compressed")  # constrained, for axes of fixed aspect
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")  # shows through where a cell is given
    image = axes.imshow(
        np.ma.masked_invalid(board), cmap=RANKS, vmin=1, vmax=max(decoded, 2), aspect="equal"
    )
    bar = figure.colorbar(image, ax=axes, label="expected rank (1 = first)")
    bar.ax.invert_yaxis()
    bar.locator = whole_numbers()
    bar.update_ticks()
    if columns <= WRITTEN_OUT:
        for (line, column), value in np.ndenumerate(board):
            if np.isfinite(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
                place = {"ha": "center", "va": "center", "fontsize": 8}
                axes.text(column, line, f"{value:.1f}", color="white" if dark else "black", **place)
    for side, count in ((0, columns), (1, lines)):
        for at in range(count + 1):
            strong = at in (0, count) or (box is not None and at % box == 0)
            draw = axes.axhline if side else axes.axvline
            draw(at - 0.5, color="black" if strong else "0.7", linewidth=1.6 if strong else 0.5)
    for axis, count in ((axes.xaxis, columns), (axes.yaxis, lines)):
        ticks = range(0, count, math.ceil(count / MOST_TICKS))
        axis.set_ticks(list(ticks), [str(i + 1) for i in ticks])
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    axes.tick_params(length=0)
    return figure
