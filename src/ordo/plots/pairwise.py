"""Which position is decoded before which, and whether known dependences are respected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ordo.plots.figure import Values, check_labels, new_figure, position_ticks, square
from ordo.plots.order import RANKS

# Diverging: the colour of late ranks, white, the colour of early ranks. The ends differ in
# lightness: grey print tells 0 and 1 apart too.
BEFORE_AFTER = LinearSegmentedColormap.from_list(
    "before_after", [RANKS(1.0), "#FFFFFF", RANKS(0.0)]
)
WRITTEN_OUT = 12  # positions up to which the cells have their numbers


def precedence_matrix(
    p: Values,
    labels: Sequence[str] | None = None,
    edges: Sequence[tuple[int, int]] | None = None,
) -> Figure:
    """P(i is decoded before j) as an image, i down and j across, white at 1/2, known edges marked.

    Args:
        p: (length, length), p[i, j] = P(i before j), so that p[i, j] + p[j, i] = 1. The diagonal is
            not looked at. See ``PlackettLuce.precedence`` and ``ordo.plots.precedence``.
        labels: a name for every position.
        edges: pairs (parent, child) of which the parent should come first. The caption says which
            share of the pairs an order of the law keeps on average: the mean of p at the marks.

    Raises ValueError for another shape, values that are no probabilities, or an edge that is no
    pair of two positions.
    """
    table = square(p, "p")
    length = len(table)
    apart = ~np.eye(length, dtype=bool)
    fine = (np.abs(table + table.T - 1) < 0.01) & (table >= 0) & (table <= 1)
    if not fine[apart].all():
        raise ValueError("p must hold probabilities with p[i, j] + p[j, i] = 1")
    check_labels(labels, length)
    pairs = [(int(i), int(j)) for i, j in edges] if edges is not None else []
    for i, j in pairs:
        if i == j or not (0 <= i < length and 0 <= j < length):
            raise ValueError(f"edge ({i}, {j}) is no pair of two positions of 0..{length - 1}")

    side = min(8.0, max(4.6 if labels is None else 5.4, 2.6 + 0.15 * length))
    figure = new_figure(side + 0.8, side)
    figure.set_layout_engine("compressed")  # constrained, for axes of fixed aspect
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")  # shows through the diagonal
    image = axes.imshow(np.where(apart, table, np.nan), cmap=BEFORE_AFTER, vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="P(i is decoded before j)")
    if length <= WRITTEN_OUT:
        for i, j in zip(*np.nonzero(apart), strict=True):
            colour = "white" if table[i, j] > 0.8 else "black"
            number = f"{table[i, j]:.2f}"
            axes.text(j, i + 0.25, number, ha="center", va="center", fontsize=7, color=colour)
    if pairs:
        parents, children = np.array(pairs).T
        kept = table[parents, children] > 0.5
        cell = 72 * (side - 1.8) / length  # points, about
        # Smaller beside a number.
        size = min(9.0, max(1.5, (0.28 if length <= WRITTEN_OUT else 0.45) * cell))
        lift = 0.22 if length <= WRITTEN_OUT else 0.0  # above the number
        for some, marker, inside, outside, say in (
            (kept, "o", "white", "black", "kept in most orders"),
            (~kept, "X", "black", "white", "not kept in most orders"),
        ):
            if some.any():
                axes.plot(
                    children[some], parents[some] - lift, marker, color=inside,
                    markeredgecolor=outside, markeredgewidth=0.12 * size, markersize=size,
                    label=f"known edge i → j, {say}",
                )  # fmt: skip
        caption = f"edges kept: {table[parents, children].mean():.1%} on average; "
        caption += f"{kept.sum()} of {len(kept)} in most orders"
        axes.set_title(caption, fontsize=9, loc="left")
        figure.legend(loc="outside upper left", frameon=False, fontsize=8, markerscale=6 / size)
    axes.set_xlabel("position j")
    axes.set_ylabel("position i")
    position_ticks(axes.xaxis, length, labels)
    position_ticks(axes.yaxis, length, labels)
    return figure
