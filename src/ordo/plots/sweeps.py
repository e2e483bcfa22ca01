"""Many runs in one picture: settings side by side, and how a search went on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import (
    COLOURS,
    array,
    legend_above,
    new_figure,
    shorten,
    whole_numbers,
    wrapped,
)

MOST_ROWS = 60
MOST_CHARACTERS = 60


def compare_settings(
    values: Sequence[ArrayLike | Tensor], labels: Sequence[str], xlabel: str
) -> Figure:
    """A row per setting, the first on top: every run as a ring, their mean as a dot with one standard deviation either way.

    values: per setting (runs,), possibly of no run, which the row then says. labels: a name for every setting. Above 60 settings
    the first 60 are drawn, and the axis says so.
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
                "no run finished", (0, i), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                va="center", color="0.35", fontsize=8,
            )  # fmt: skip
            continue
        axes.plot(
            row,
            np.full(len(row), i),
            "o",
            markerfacecolor="none",
            markeredgecolor=COLOURS[4],
            markersize=5,
        )
        spread = row.std(ddof=1) if len(row) > 1 else 0.0
        axes.errorbar(
            row.mean(),
            i,
            xerr=spread,
            fmt="o",
            color=COLOURS[0],
            markersize=4,
            capsize=3 if len(row) > 1 else 0,
        )
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    axes.set_yticklabels(
        [shorten(name, MOST_CHARACTERS) for name in labels[: len(rows)]], fontsize=8
    )
    if len(rows) < len(values):
        axes.set_ylabel(f"the first {len(rows)} of {len(values)}")
    axes.set_xlabel(wrapped(xlabel, 60))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def search_history(number: ArrayLike | Tensor, values: ArrayLike | Tensor, ylabel: str) -> Figure:
    """What the trials of a search reached, and the least so far.

    number: (trials,), increasing. values: (trials,), NaN for trials that were stopped early, which are ticks on the upper edge.
    """
    x, y = array(number), array(values)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"number and values must have shape (trials,), got {x.shape} and {y.shape}"
        )
    figure = new_figure()
    axes = figure.add_subplot()
    there = ~np.isnan(y)
    axes.plot(x[there], y[there], "o", color=COLOURS[4], markersize=5, label="trial")
    axes.step(
        x[there],
        np.minimum.accumulate(y[there]),
        where="post",
        color=COLOURS[0],
        label="least so far",
    )
    if not there.all():
        top = axes.get_xaxis_transform()
        stopped = x[~there]
        axes.plot(
            stopped,
            np.ones(len(stopped)),
            "|",
            color=COLOURS[1],
            markersize=12,
            transform=top,
            label="stopped early",
        )
    axes.set_xlabel("trial")
    axes.set_ylabel(wrapped(ylabel, 40))
    axes.xaxis.set_major_locator(whole_numbers())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    legend_above(figure, axes.get_lines())
    return figure
