"""Where in the sequence, and when in the order, the loss lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import (
    array,
    check_labels,
    hatch_background,
    new_figure,
    position_ticks,
    whole_numbers,
)


def loss_heatmap(
    mean: ArrayLike | Tensor,
    labels: Sequence[str] | None = None,
    unit: str = "nats",
    edges: ArrayLike | Tensor | None = None,
) -> Figure:
    """Mean loss of a token by its position and the number of tokens revealed before it, as an image.

    mean: (length, bins) in ``unit``, NaN where never seen, which is hatched. labels: a name for every position. edges: (bins + 1,),
    increasing; bin b holds the numbers edges[b] to edges[b + 1] - 1. None: bin b is the number b. ``mean`` and ``edges`` are what
    ``LikelihoodReport.loss_by_position_and_revealed`` has as nats and edges.
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
    top = float(seen.max()) if seen.count() else 0.0
    rows = np.arange(length + 1) - 0.5
    mesh = axes.pcolormesh(
        at - 0.5,
        rows,
        seen,
        cmap="cividis",
        vmin=min(0.0, float(seen.min()) if seen.count() else 0.0),
        rasterized=True,
    )
    mesh.set_clim(vmax=top if top > mesh.get_clim()[0] else mesh.get_clim()[0] + 1)
    figure.colorbar(mesh, ax=axes, label=f"mean loss of the token ({unit})")
    axes.set_ylim(length - 0.5, -0.5)
    axes.set_xlabel("tokens revealed before it")
    axes.set_ylabel("position")
    axes.xaxis.set_major_locator(whole_numbers())
    position_ticks(axes.yaxis, length, labels)
    if seen.count() < seen.size:
        figure.legend(
            handles=[hatch_background(axes, "never seen")], loc="outside upper left", frameon=False
        )
    return figure
