"""Many runs in one picture: settings side by side, and how a search went on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ordo.plots.figure import (
    COLOURS,
    Values,
    array,
    legend_above,
    new_figure,
    open_frame,
    series,
    shorten,
    whole_numbers,
    wrapped,
)

MOST_ROWS = 60
MOST_CHARACTERS = 60


def compare_settings(values: Sequence[Values], labels: Sequence[str], xlabel: str) -> Figure:
    """A row per setting, the first on top: runs as rings, mean as a dot, one deviation either way.

    Of more than 60 settings the first 60 are drawn, and the axis says so.

    Args:
        values: per setting (runs,); a row without runs says that no run finished.
        labels: a name for every setting.
    """
    if len(values) != len(labels):
        raise ValueError(f"labels must name {len(values)} settings, got {len(labels)}")
    rows = [array(row) for row in values[:MOST_ROWS]]
    for label, row in zip(labels, rows, strict=False):
        if row.ndim != 1:
            raise ValueError(f"{label}: values must have shape (runs,), got {row.shape}")
    longest = min(MOST_CHARACTERS, max(map(len, labels), default=0))
    figure = new_figure(4.4 + 0.075 * longest, 1.2 + 0.26 * max(3, len(rows)))
    axes = figure.add_subplot()
    for i, row in enumerate(rows):
        if len(row) == 0:
            axes.annotate(
                "no run finished", (0, i), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", color="0.35", fontsize=8,
            )  # fmt: skip
            continue
        ring = {"markerfacecolor": "none", "markeredgecolor": COLOURS[4], "markersize": 5}
        axes.plot(row, np.full(len(row), i), "o", **ring)
        deviation, cap = (row.std(ddof=1), 3) if len(row) > 1 else (0.0, 0)
        dot = {"fmt": "o", "color": COLOURS[0], "markersize": 4}
        axes.errorbar(row.mean(), i, xerr=deviation, capsize=cap, **dot)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    names = [shorten(name, MOST_CHARACTERS) for name in labels[: len(rows)]]
    axes.set_yticklabels(names, fontsize=8)
    if len(rows) < len(values):
        axes.set_ylabel(f"the first {len(rows)} of {len(values)}")
    axes.set_xlabel(wrapped(xlabel, 60))
    open_frame(axes, grid=False)
    axes.grid(axis="x", alpha=0.3)
    return figure


def search_history(number: Values, values: Values, ylabel: str) -> Figure:
    """What the trials of a search reached, and the least so far.

    Args:
        number: (trials,), increasing.
        values: (trials,); NaN for a trial that was stopped early, a tick on the upper edge.
    """
    x, y = series((number, values), "number and values", "trials")
    figure = new_figure()
    axes = figure.add_subplot()
    ended = ~np.isnan(y)
    axes.plot(x[ended], y[ended], "o", color=COLOURS[4], markersize=5, label="trial")
    least = np.minimum.accumulate(y[ended])
    axes.step(x[ended], least, where="post", color=COLOURS[0], label="least so far")
    if not ended.all():
        tick = {"color": COLOURS[1], "markersize": 12, "transform": axes.get_xaxis_transform()}
        stopped = x[~ended]
        axes.plot(stopped, np.ones(len(stopped)), "|", label="stopped early", **tick)
    axes.set_xlabel("trial")
    axes.set_ylabel(wrapped(ylabel, 40))
    axes.xaxis.set_major_locator(whole_numbers())
    open_frame(axes)
    legend_above(figure, axes.get_lines())
    return figure
