"""Several values of each of a few things, as bars side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ordo.plots.figure import (
    COLOURS,
    MAX_NAME_CHARACTERS,
    Values,
    array,
    new_figure,
    open_frame,
    shorten,
    wrapped,
)

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")


def grouped_bars(
    bars: Mapping[str, Values],
    labels: Sequence[str],
    ylabel: str,
    marks: Mapping[str, Values] | None = None,
) -> Figure:
    """A group of bars for every label, a bar for every name; all bars stand on 0.

    Args:
        bars: name -> heights, (groups,); at most 7 names. NaN leaves a gap.
        labels: (groups,), below the groups.
        ylabel: what the heights are, and their unit.
        marks: name -> heights, (groups,), of a dash across each group, such as an exact value.

    Raises ValueError for other shapes and for too many names.
    """
    rows, dashes = ({k: array(v) for k, v in part.items()} for part in (bars, marks or {}))
    for name, values in (rows | dashes).items():
        if values.shape != (len(labels),):
            raise ValueError(
                f"{name}: heights must have shape ({len(labels)},), got {values.shape}"
            )
    if not 1 <= len(rows) <= len(HATCHES):
        raise ValueError(f"bars must have 1 to {len(HATCHES)} names, got {len(rows)}")
    figure = new_figure(max(6.4, 1.2 + 0.16 * len(labels) * (len(rows) + 1)), 3.6)
    axes = figure.add_subplot()
    at, width = np.arange(len(labels)), 0.8 / len(rows)
    for i, (name, values) in enumerate(rows.items()):
        look: Any = {"color": COLOURS[i], "hatch": HATCHES[i], "edgecolor": "white"}
        axes.bar(at + (i - (len(rows) - 1) / 2) * width, values, 0.94 * width, label=name, **look)
    for name, values in dashes.items():
        left, right = list(at - 0.42), list(at + 0.42)
        axes.hlines(list(values), left, right, color="black", linewidth=1.5, label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    names = [shorten(label) for label in labels]
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(labels)))))
    crowded = len(names) * (max(map(len, names), default=0) + 2) > 11 * figure.get_figwidth()
    axes.set_xticklabels(names, rotation=90 if crowded else 0, fontsize=8 if crowded else 10)
    axes.set_ylabel(wrapped(ylabel, 32))
    open_frame(axes, grid=False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    handles = [found[name] for name in (*rows, *dashes)]
    words = [shorten(name, MAX_NAME_CHARACTERS) for name in (*rows, *dashes)]
    room = int(13 * figure.get_figwidth())
    columns = max(1, min(4, room // (max(map(len, words)) + 6)))
    height = figure.get_figheight() + 0.2 * max(0, -(-len(words) // columns) - 2)
    figure.set_figheight(height)
    place = {"loc": "outside upper center", "ncols": columns, "frameon": False, "fontsize": 9}
    figure.legend(handles, words, **place)
    return figure
