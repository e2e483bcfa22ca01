"""Noise schedules, one curve per position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    coincident,
    new_figure,
    position_ticks,
    shorten,
)

MAX_LEGEND = 10
MAX_TICKS = 30  # of the colour bar
SHARP = 100.0  # ratio of half times, as -ln t, from which on the axis of time is logarithmic


def schedule_times(n: int = 101) -> np.ndarray:
    """Times at which the curves of soft and of sharp schedules are smooth, on either axis of time.

    Returns float64, increasing: n evenly spaced times from 0 to 1, and 120 more, 8 a decade of
    ``-ln t`` from 1e-12 to 700. The latter are about the ends of what float64 tells from 1 and 0.
    """
    even = np.linspace(0.0, 1.0, n)
    return np.union1d(even, np.exp(-np.geomspace(1e-12, 700.0, 120)))


def half_times(t: Values, alpha: Values) -> np.ndarray:
    """``-ln t`` where each alpha falls through 1/2, (length,) float64.

    A schedule ``1 - t^w`` has ``ln(2) / w``. Between two times alpha is taken as linear in the
    logarithm of ``-ln t``. What is beyond the given times between 0 and 1 is set to the last.

    Args:
        t: (n,), increasing; at least one is between 0 and 1.
        alpha: (n, length), falling.
    """
    x, y = array(t), array(alpha)
    inner = (x > 0) & (x < 1)
    log_u = np.log(-np.log(x[inner]))
    return np.exp([np.interp(-0.5, -column, log_u) for column in y[inner].T])


def schedule_curves(t: Values, alpha: Values, labels: Sequence[str] | None = None) -> Figure:
    """alpha_l(t) of every position, coloured by position (2511.19152, Figures 2b and 5).

    The axis shows t from 0 to 1. There all schedules of a sharp law would cling to the two ends.
    So the axis shows ``-ln t`` on a logarithmic scale, and its label says so, where the largest of
    the half times (``half_times``) is at least 100 times the least. On that scale all schedules
    ``1 - t^w`` have one shape, which ``ln w`` shifts, and decoding runs from left to right.

    Curves that coincide have one entry in the legend, "a = b". Where the curves have a colour bar
    and all of them coincide, a note says so.

    Args:
        t: (n,) in [0, 1], increasing; ``schedule_times`` suits both axes.
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
    inner = (x > 0) & (x < 1)
    halves = half_times(x, y) if inner.any() else np.ones(length)
    sharp = bool(halves.max() >= SHARP * halves.min())
    shown = inner if sharp else np.full(len(x), True)
    across = -np.log(x[shown]) if sharp else x
    for i in range(length):
        style = LINE_STYLES[i % len(LINE_STYLES)] if legend else "-"
        line = {"color": palette(scale(i)), "linewidth": width, "linestyle": style}
        axes.plot(across, y[shown, i], alpha=opaque, label=legend[i] if legend else str(i), **line)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel(r"$\alpha_\ell(t)$, probability of being clean")
    if sharp:
        axes.set_xscale("log")
        # Of schedules 1 - t^w from alpha = .02 of the first to .99 of the last, if t tells so far.
        axes.set_xlim(halves.min() / 40, min(halves.max() * 8, across.max()))
        axes.set_xlabel(r"$-\ln t$ on a log scale (decoding runs from left to right)")
    else:
        axes.set_xlim(0, 1)
        axes.set_xlabel("time $t$ (decoding runs from 1 to 0)")
    groups = coincident(axes.get_lines())
    if legend:
        handles: Any = [tuple(group) for group in groups]
        names = ["\n= ".join(str(line.get_label()) for line in group) for group in groups]
        figure.legend(handles, names, loc="outside right upper", frameon=False)
    elif length > 1:
        bar = figure.colorbar(ScalarMappable(scale, palette), ax=axes)
        bar.set_label("position")
        bar.ax.invert_yaxis()
        position_ticks(bar.ax.yaxis, length, labels, most=MAX_TICKS)
        if len(groups) == 1:
            note = f"all {length} curves coincide"
            axes.text(0.97, 0.93, note, transform=axes.transAxes, ha="right", color="0.35")
    return figure
