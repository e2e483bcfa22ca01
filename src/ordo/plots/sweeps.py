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
    distinct,
    legend_above,
    new_figure,
    open_frame,
    series,
    whole_numbers,
    wrapped,
)

MOST_ROWS = 60
MOST_CHARACTERS = 60


def compare_settings(
    values: Sequence[Values], labels: Sequence[str], xlabel: str, lower_is_better: bool = True
) -> Figure:
    """A row per setting, the first on top: runs as rings, mean as a dot, one deviation either way.

    Every row says how many runs it has. The label of the values says which end is better, and how
    many runs and settings there are in all. Of more than 60 settings the first 60 are drawn, and
    the axis says so.

    Args:
        values: per setting (runs,); a row without runs says that no run finished.
        labels: a name for every setting; an empty name is that of runs that differ in nothing.
        xlabel: what the values are, and their unit.
    """
    if len(values) != len(labels):
        raise ValueError(f"labels must name {len(values)} settings, got {len(labels)}")
    rows = [array(row) for row in values[:MOST_ROWS]]
    for label, row in zip(labels, rows, strict=False):
        if row.ndim != 1:
            raise ValueError(f"{label}: values must have shape (runs,), got {row.shape}")
    longest = min(MOST_CHARACTERS, max(map(len, labels), default=0))
    figure = new_figure(4.8 + 0.075 * longest, 1.7 + 0.26 * max(3, len(rows)))
    axes = figure.add_subplot()
    for i, row in enumerate(rows):
        if len(row) == 0:
            axes.annotate(
                "no run finished", (0, i), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", color="0.35", fontsize=8,
            )  # fmt: skip
            continue
        ring = {"markerfacecolor": "none", "markeredgecolor": COLOURS[4], "markersize": 5}
        axes.plot(row, np.full(len(row), i), "o", label="a run", **ring)
        deviation, cap = (row.std(ddof=1), 3) if len(row) > 1 else (0.0, 0)
        dot = {"fmt": "o", "color": COLOURS[0], "markersize": 4}
        axes.errorbar(row.mean(), i, xerr=deviation, capsize=cap, label="mean ± 1 s.d.", **dot)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    names = distinct([label or "all runs" for label in labels[: len(rows)]], MOST_CHARACTERS)
    numbered = [f"{name}  (n = {len(row)})" for name, row in zip(names, rows, strict=True)]
    axes.set_yticklabels(numbered, fontsize=8)
    first = f"the first {len(rows)} of {len(values)} settings" * (len(rows) < len(values))
    axes.set_ylabel(first or "settings (n runs)")
    every = sum(array(row).size for row in values)
    better = "← lower is better" if lower_is_better else "higher is better →"
    counted = f"{every} run{'s' * (every != 1)} of {len(values)} setting{'s' * (len(values) != 1)}"
    axes.set_xlabel(f"{wrapped(xlabel, 60)}\n{better}; {counted}")
    open_frame(axes, grid=False)
    axes.grid(axis="x", alpha=0.3)
    handles, words = axes.get_legend_handles_labels()
    shown = dict(zip(words, handles, strict=True))
    if shown:
        look = {"loc": "outside upper right", "ncols": 2, "frameon": False, "fontsize": 8}
        figure.legend(list(shown.values()), list(shown), **look)
    return figure


def search_history(number: Values, values: Values, ylabel: str) -> Figure:
    """What the trials of a search reached, and the least so far; lower is better.

    Args:
        number: (trials,), increasing.
        values: (trials,); NaN for a trial that was stopped early, a tick on the upper edge.
    """
    x, y = series((number, values), "number and values", "trials")
    figure = new_figure()
    axes = figure.add_subplot()
    ended = ~np.isnan(y)
    reached = {"color": COLOURS[4], "markersize": 5, "label": f"trial ({ended.sum()})"}
    axes.plot(x[ended], y[ended], "o", **reached)
    least = np.minimum.accumulate(y[ended])
    axes.step(x[ended], least, where="post", color=COLOURS[0], label="least so far")
    if not ended.all():
        tick = {"color": COLOURS[1], "markersize": 12, "transform": axes.get_xaxis_transform()}
        stopped = x[~ended]
        label = f"stopped early ({len(stopped)})"
        axes.plot(stopped, np.ones(len(stopped)), "|", label=label, **tick)
    axes.set_xlabel("number of the trial, in the order of their starts")
    axes.set_ylabel(f"{wrapped(ylabel, 40)}\n← lower is better")
    axes.xaxis.set_major_locator(whole_numbers())
    open_frame(axes)
    legend_above(figure, axes.get_lines())
    return figure
