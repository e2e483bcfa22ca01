"""Decoding orders: where every position stands in the order, and how that comes about in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import (
    COLOURS,
    array,
    check_labels,
    new_figure,
    position_ticks,
    whole_numbers,
)


def rank_probability(orders: ArrayLike | Tensor) -> np.ndarray:
    """Share of the orders in which a position has a rank.

    orders: (n, length), each row the positions in decoding order. Returns (length, length): [position, rank from 0];
    rows and columns sum to 1.
    """
    table = _checked(orders)
    n, length = table.shape
    rank = np.broadcast_to(np.arange(length), table.shape)
    cell = table * length + rank
    return np.bincount(cell.ravel(), minlength=length * length).reshape(length, length) / n


def precedence(orders: ArrayLike | Tensor) -> np.ndarray:
    """Share of the orders in which i is decoded before j: for laws without a closed form (``PlackettLuce.precedence`` has one).

    orders: (n, length), each row the positions in decoding order. Returns (length, length): [i, j]; the diagonal is 0.
    """
    table = _checked(orders)
    n, length = table.shape
    rank = np.ascontiguousarray(
        np.argsort(table, axis=1).astype(np.min_scalar_type(length)).T
    )  # narrow, and a position's ranks together
    return np.stack([np.count_nonzero(row < rank, axis=1) for row in rank]) / n


def _checked(orders: ArrayLike | Tensor) -> np.ndarray:
    """As int64. Raises ValueError unless every row is a permutation of 0..length-1."""
    table = array(orders)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"orders must have shape (n, length), got {table.shape}")
    length = table.shape[1]
    if not np.array_equal(np.sort(table, axis=1), np.broadcast_to(np.arange(length), table.shape)):
        raise ValueError(f"every row of orders must be a permutation of 0..{length - 1}")
    return table.astype(np.int64)


def order_heatmap(
    rank_probability: ArrayLike | Tensor, labels: Sequence[str] | None = None
) -> Figure:
    """P(rank | position) as an image, with every position's expected rank as a dot.

    rank_probability: (length, length), [position, rank from 0], rows sum to 1. labels: a name for every position.
    """
    p = array(rank_probability)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or p.size == 0:
        raise ValueError(f"rank_probability must have shape (length, length), got {p.shape}")
    length = p.shape[0]
    check_labels(labels, length)
    figure = new_figure(6.4, min(7.0, max(4.0, 1.5 + 0.17 * length)))
    axes = figure.add_subplot()
    extent = (
        0.5,
        length + 0.5,
        length - 0.5,
        -0.5,
    )  # ranks from 1, positions from 0, first position on top
    most = max(
        p.max(), min(1.0, 4 / length)
    )  # or the noise of sampled orders would fill the colours where all ranks are equally probable
    image = axes.imshow(p, cmap="cividis", vmin=0.0, vmax=most, extent=extent, aspect="auto")
    figure.colorbar(image, ax=axes, label="probability")
    expected = p @ np.arange(1, length + 1)
    size, edge = (6.0, 0.6) if length <= 16 else (4.0, 0.6) if length <= 48 else (2.5, 0.0)
    axes.plot(
        expected, np.arange(length), "o", color=COLOURS[1], markeredgecolor="white", markeredgewidth=edge, markersize=size,
        label="expected rank",
    )  # fmt: skip
    axes.set_xlabel("rank in the decoding order (1 = first)")
    axes.set_ylabel("position")
    axes.xaxis.set_major_locator(whole_numbers())
    position_ticks(axes.yaxis, length, labels)
    figure.legend(loc="outside upper left", frameon=False, markerscale=6 / size)
    return figure


def order_over_training(
    steps: ArrayLike | Tensor,
    expected_rank: ArrayLike | Tensor,
    entropy: ArrayLike | Tensor | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """How an order forms: expected rank of every position (colour) against the training step, and the order law's entropy.

    steps: (n,), increasing. expected_rank: (n, length), from 1. entropy: (n,) nats, or None to leave that panel out; the
    dashed line is log(length!), all orders equally probable. labels: a name for every position.
    """
    x, rank = array(steps), array(expected_rank)
    if x.ndim != 1 or rank.ndim != 2 or len(x) != len(rank) or rank.size == 0:
        raise ValueError(
            f"steps must have shape (n,) and expected_rank (n, length), got {x.shape} and {rank.shape}"
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
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ]
    middle = (
        x[1:] + x[:-1]
    ) / 2  # a column reaches half-way to its neighbours: steps need not be evenly spaced
    first, last = (
        (x[0] - (x[1] - x[0]) / 2, x[-1] + (x[-1] - x[-2]) / 2)
        if n > 1
        else (x[0] - 0.5, x[0] + 0.5)
    )
    edges = np.concatenate([[first], middle, [last]])
    rows = np.arange(length + 1) - 0.5
    mesh = panels[0].pcolormesh(
        edges, rows, rank.T, cmap="viridis", vmin=1, vmax=max(length, 2), rasterized=True
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
        panels[1].annotate(
            "uniform", (1, uniform), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", color="0.35", fontsize=8, annotation_clip=False,
        )  # fmt: skip
        panels[1].plot(x, h, color=COLOURS[0], marker="o" if n <= 25 else None, markersize=3)
        panels[1].set_ylim(0, 1.08 * max(uniform, float(np.nanmax(h)), 1e-3))
        panels[1].set_ylabel("order entropy\n(nats)")
        panels[1].set_xlim(edges[0], edges[-1])
    panels[-1].set_xlabel("training step")
    return figure
