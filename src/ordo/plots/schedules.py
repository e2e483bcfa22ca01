"""Noise schedules, one curve per position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ordo.plots.figure import (
    LINE_STYLES,
    Values,
    array,
    check_labels,
    new_figure,
    position_ticks,
    shorten,
)

MAX_LEGEND = 10
MAX_TICKS = 30  # of the colour bar


def schedule_curves(t: Values, alpha: Values, labels: Sequence[str] | None = None) -> Figure:
    """alpha_l(t) of every position, coloured by position (2511.19152, Figures 2b and 5).

    Args:
        t: (n,) in [0, 1].
        alpha: (n, length).
        labels: a name for every position. A legend has up to 10 of them; more stand at a colour
            bar, and of more than 30 each k-th.
    """
    x, y = array(t), array(alpha)
    if x.ndim != 1 or y.ndim != 2 or len(x) != len(y) or y.size == 0:
        raise ValueError(
            f"t must have shape (n,) and alpha (n, length), got {x.shape} and {y.shape}"
        )
    length = y.shape[1]
    check_labels(labels, length)
    named = labels is not None and length <= MAX_LEGEND
    legend = [shorten(name) for name in labels or ()] if named else None
    tall = min(5.0, max(4.0, 0.8 + 0.15 * length))
    figure = new_figure(6.4, 4.0 if labels is None or legend else tall)
    axes = figure.add_subplot()
    # The last yellow of viridis does not show on white.
    palette = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.92, 256)))
    scale = Normalize(0, max(length - 1, 1))
    width, opaque = 1.6 if length <= 16 else 1.0, 1.0 if length <= 32 else 0.7
    for i in range(length):
        style = LINE_STYLES[i % len(LINE_STYLES)] if legend else "-"
        (line,) = axes.plot(x, y[:, i], color=palette(scale(i)), linewidth=width, linestyle=style)
        line.set(alpha=opaque, label=legend[i] if legend else None)
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
