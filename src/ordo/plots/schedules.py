"""Noise schedules, one curve per position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import LINE_STYLES, array, check_labels, new_figure, position_ticks, shorten

MAX_LEGEND = 10
MAX_TICKS = 30  # of the colour bar


def schedule_curves(
    t: ArrayLike | Tensor, alpha: ArrayLike | Tensor, labels: Sequence[str] | None = None
) -> Figure:
    """alpha_l(t) of every position, coloured by position (2511.19152, Figures 2b and 5).

    t: (n,) in [0, 1]. alpha: (n, length). labels: a name for every position; up to 10 go into a legend, more to a
    colour bar, every k-th from 31 on.
    """
    x, y = array(t), array(alpha)
    if x.ndim != 1 or y.ndim != 2 or len(x) != len(y) or y.size == 0:
        raise ValueError(
            f"t must have shape (n,) and alpha (n, length), got {x.shape} and {y.shape}"
        )
    length = y.shape[1]
    check_labels(labels, length)
    legend = (
        [shorten(name) for name in labels] if labels is not None and length <= MAX_LEGEND else None
    )
    figure = new_figure(
        6.4, 4.0 if labels is None or legend else min(5.0, max(4.0, 0.8 + 0.15 * length))
    )
    axes = figure.add_subplot()
    palette = ListedColormap(
        colormaps["viridis"](np.linspace(0.0, 0.92, 256))
    )  # its last yellow does not show on white
    scale = Normalize(0, max(length - 1, 1))
    for i in range(length):
        axes.plot(
            x, y[:, i], color=palette(scale(i)), linewidth=1.6 if length <= 16 else 1.0, alpha=1.0 if length <= 32 else 0.7,
            linestyle=LINE_STYLES[i % len(LINE_STYLES)] if legend else "-", label=legend[i] if legend else None,
        )  # fmt: skip
    if legend:
        figure.legend(axes.get_lines(), legend, loc="outside right upper", frameon=False)
    elif length > 1:
        bar = figure.colorbar(ScalarMappable(scale, palette), ax=axes)
        bar.set_label("position")
        bar.ax.invert_yaxis()
        position_ticks(bar.ax.yaxis, length, labels, most=MAX_TICKS)
    axes.set_xlabel("time $t$ (decoding runs from 1 to 0)")
    axes.set_ylabel(r"$\alpha_\ell(t)$, probability of being clean")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    return figure
