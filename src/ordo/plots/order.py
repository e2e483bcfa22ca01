"""Decoding orders: the rank of every position, and how the ranks form in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ordo.plots.figure import (
    COLOURS,
    Values,
    array,
    check_labels,
    new_figure,
    note_beside,
    position_ticks,
    square,
    whole_numbers,
)

# The colours of ranks in every picture of orders, and of steps in traces: dark is early, yellow is
# late. The darkest end of viridis does not show on a dark page.
EARLIEST = 0.15
RANKS = ListedColormap(colormaps["viridis"](np.linspace(EARLIEST, 1.0, 256)), "ranks")


def rank_probability(orders: Values) -> np.ndarray:
    """Share of the orders in which a position has a rank.

    Args:
        orders: (n, length), each row the positions in decoding order.
    Returns (length, length), [position, rank from 0]; rows and columns sum to 1.
    """
    table = _checked(orders)
    n, length = table.shape
    rank = np.broadcast_to(np.arange(length), table.shape)
    cell = table * length + rank
    return np.bincount(cell.ravel(), minlength=length * length).reshape(length, length) / n


def precedence(orders: Values) -> np.ndarray:
    """Share of the orders in which position i is decoded before position j.

    For laws without a closed form; ``PlackettLuce.precedence`` has one.

    Args:
        orders: (n, length), each row the positions in decoding order.
    Returns (length, length), [i, j]; the diagonal is 0.
    """
    table = _checked(orders)
    n, length = table.shape
    # Fast because the numbers are narrow and the ranks of a position lie side by side.
    narrow = np.argsort(table, axis=1).astype(np.min_scalar_type(length))
    rank = np.ascontiguousarray(narrow.T)
    return np.stack([np.count_nonzero(row < rank, axis=1) for row in rank]) / n


def _checked(orders: Values) -> np.ndarray:
    """As int64. Raises ValueError unless every row is a permutation of 0..length-1."""
    table = array(orders)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"orders must have shape (n, length), got {table.shape}")
    length = table.shape[1]
    if not np.array_equal(np.sort(table, axis=1), np.broadcast_to(np.arange(length), table.shape)):
        raise ValueError(f"every row of orders must be a permutation of 0..{length - 1}")
    return table.astype(np.int64)


def order_heatmap(rank_probability: Values, labels: Sequence[str] | None = None) -> Figure:
    """P(rank | position) in shades of grey; a dot marks the expected rank of every position.

    Grey, because colours stand for ranks in the other pictures of orders.

    Args:
        rank_probability: (length, length), [position, rank from 0]; rows sum to 1.
        labels: a name for every position.
    """
    p = square(rank_probability, "rank_probability")
    length = len(p)
    check_labels(labels, length)
    figure = new_figure(6.4, min(7.0, max(4.0, 1.5 + 0.17 * length)))
    axes = figure.add_subplot()
    # Ranks count from 1, positions from 0; the first position is on top.
    extent = (0.5, length + 0.5, length - 0.5, -0.5)
    # Where all ranks are equally probable the noise of sampled orders must not fill the colours.
    most = max(p.max(), min(1.0, 4 / length))
    image = axes.imshow(p, cmap="Greys", vmin=0.0, vmax=most, extent=extent, aspect="auto")
    figure.colorbar(image, ax=axes, label="probability")
    expected = p @ np.arange(1, length + 1)
    size, edge = (6.0, 0.6) if length <= 16 else (4.0, 0.6) if length <= 48 else (2.5, 0.0)
    axes.plot(
        expected, np.arange(length), "o", color=COLOURS[1], markeredgecolor="white",
        markeredgewidth=edge, markersize=size, label="expected rank",
    )  # fmt: skip
    axes.set_xlabel("rank in the decoding order (1 = first)")
    axes.set_ylabel("position")
    axes.xaxis.set_major_locator(whole_numbers())
    position_ticks(axes.yaxis, length, labels)
    figure.legend(loc="outside upper left", frameon=False, markerscale=6 / size)
    return figure


def order_over_training(
    steps: Values,
    expected_rank: Values,
    entropy: Values | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """How an order forms in training: the expected rank of every position, and the law's entropy.

    Args:
        steps: (n,), increasing.
        expected_rank: (n, length), from 1, shown by colour.
        entropy: (n,) nats; None leaves the panel out. The dashed line is log(length!), at which all
            orders are equally probable.
        labels: a name for every position.
    """
    x, rank = array(steps), array(expected_rank)
    if x.ndim != 1 or rank.ndim != 2 or len(x) != len(rank) or rank.size == 0:
        raise ValueError(
            "steps must have shape (n,) and expected_rank (n, length), "
            f"got {x.shape} and {rank.shape}"
        )
    if (np.diff(x) <= 0).any():
        raise ValueError("steps must increase")
    h = None if entropy is None else array(entropy)
    if h is not None and h.shape != x.shape:
        raise ValueError(f"entropy must have the shape of steps {x.shape}, got {h.shape}")
    n, length = rank.shape
    check_labels(labels, length)

    height = min(5.5, max(3.4, 1.2 + 0.13 * length))
    figure = new_figure(6.4, height if h is None else height + 1.4)
    heights = [height] if h is None else [height, 1.4]
    panels = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
    ).ravel()
    # A column reaches half-way to its neighbours: steps need not be evenly spaced.
    gaps = np.diff(x) if n > 1 else np.ones(1)
    ends = [x[0] - gaps[0] / 2], [x[-1] + gaps[-1] / 2]
    edges = np.concatenate([ends[0], (x[1:] + x[:-1]) / 2, ends[1]])
    rows = np.arange(length + 1) - 0.5
    mesh = panels[0].pcolormesh(
        edges, rows, rank.T, cmap=RANKS, vmin=1, vmax=max(length, 2), rasterized=True
    )
    panels[0].invert_yaxis()
    panels[0].set_ylabel("position")
    position_ticks(panels[0].yaxis, length, labels)
    bar = figure.colorbar(mesh, ax=panels[0], label="expected rank (1 = first)")
    bar.ax.invert_yaxis()
    bar.locator = whole_numbers()
    bar.update_ticks()
    if h is not None:
        uniform = math.lgamma(length + 1)
        panels[1].axhline(uniform, color="0.45", linestyle="--", linewidth=1)
        note_beside(panels[1], uniform, "uniform")
        panels[1].plot(x, h, color=COLOURS[0], marker="o" if n <= 25 else None, markersize=3)
        panels[1].set_ylim(0, 1.08 * max(uniform, float(np.nanmax(h)), 1e-3))
        panels[1].set_ylabel("order entropy\n(nats)")
        panels[1].set_xlim(edges[0], edges[-1])
    panels[-1].set_xlabel("training step")
    return figure
