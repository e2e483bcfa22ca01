"""Where in the sequence, and when in the order, the loss lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ordo.plots.figure import (
    Values,
    array,
    check_labels,
    hatch_background,
    new_figure,
    position_ticks,
    whole_numbers,
)


def loss_heatmap(
    mean: Values,
    labels: Sequence[str] | None = None,
    unit: str = "nats",
    edges: Values | None = None,
) -> Figure:
    """Mean loss of a token by position and number of tokens revealed before, as an image.

    The colours run from the least to the largest loss. Of more than 100 cells, the 1% at either end
    share the last colour, and the colour bar has an arrow there: a few cells that were seen seldom
    would otherwise make all others look alike.

    ``LikelihoodReport.loss_by_position_and_revealed`` has the mean and the edges.

    Args:
        mean: (length, bins) in ``unit``; NaN, shown by a hatch, where nothing was seen.
        labels: a name for every position.
        edges: (bins + 1,), increasing: bin b holds the numbers edges[b] to edges[b + 1] - 1. None:
            bin b holds the number b.
    """
    table = array(mean)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"mean must have shape (length, bins), got {table.shape}")
    length, bins = table.shape
    check_labels(labels, length)
    at = np.arange(bins + 1) if edges is None else array(edges)
    if at.shape != (bins + 1,) or (np.diff(at) <= 0).any():
        raise ValueError(f"edges must increase and have shape ({bins + 1},), got {at.tolist()}")
    figure = new_figure(6.4, min(7.0, max(4.0, 1.5 + 0.17 * length)))
    axes = figure.add_subplot()
    seen = np.ma.masked_invalid(table)
    low, high, extend = _range(seen.compressed())
    rows = np.arange(length + 1) - 0.5
    mesh = axes.pcolormesh(at - 0.5, rows, seen, cmap="cividis", rasterized=True)
    mesh.set_clim(low, high)
    figure.colorbar(mesh, ax=axes, label=f"mean loss of the token ({unit})", extend=extend)
    axes.set_ylim(length - 0.5, -0.5)
    axes.set_xlabel("tokens revealed before it")
    axes.set_ylabel("position")
    axes.xaxis.set_major_locator(whole_numbers())
    position_ticks(axes.yaxis, length, labels)
    if seen.count() < seen.size:
        never = hatch_background(axes, "never seen")
        figure.legend(handles=[never], loc="outside upper left", frameon=False)
    return figure


def _range(values: np.ndarray) -> tuple[float, float, str]:
    """Least and largest value that has a colour of its own, and at which ends there are others."""
    if values.size == 0:
        return 0.0, 1.0, "neither"
    low = float(np.quantile(values, 0.01, method="lower"))
    high = float(np.quantile(values, 0.99, method="higher"))
    if not high > low:
        low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = min(low, 0.0), max(low, 0.0) or 1.0
    below, above = bool(values.min() < low), bool(values.max() > high)
    return (
        low,
        high,
        {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above],
    )
