"""Synthetic tables against real ones: single columns, and pairs of columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from ordo.metrics.inputs import CATEGORICAL, NUMERIC, checked
from ordo.plots.figure import (
    COLOURS,
    Values,
    check_labels,
    hatch_background,
    new_figure,
    open_frame,
    position_ticks,
    shorten,
    square,
)

MOST_COLUMNS = 30
MOST_BARS = 8  # beside "other" and "missing"
FEW_NUMBERS = 12  # distinct ones up to which a numeric column has bars
BINS = 30
REAL, SYNTHETIC = "0.7", COLOURS[0]


def marginals(
    real: pd.DataFrame, synthetic: pd.DataFrame, names: Sequence[str], kinds: Mapping[str, str]
) -> Figure:
    """The distribution of every column in both tables, as shares of the rows, a panel each.

    Categories, and numbers with few values, have bars: the 8 most frequent ones of the real table,
    and "other" for the rest. Other numbers have 30 bins of equal width, of which the outer two are
    open where tails are long. Missing values are a bar, or a share in the title of the panel.

    Args:
        names: the columns to draw; of more than 30 the first 30, and the picture says so.
        kinds: column -> "numeric" or "categorical".

    Raises ValueError for no or unknown columns; see ``ordo.metrics.inputs.checked``.
    """
    if not names:
        raise ValueError("no columns to draw; give at least one name")
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise ValueError(f"kinds lacks column {unknown[0]!r}")
    drawn = list(names[:MOST_COLUMNS])
    tables = checked({name: kinds[name] for name in drawn}, real=real, synthetic=synthetic)
    across = min(3, len(drawn))
    down = math.ceil(len(drawn) / across)
    figure = new_figure(max(3.2 * across, 4.8), 0.9 + 2.1 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(panels, drawn, strict=False):
        first, second = (table[name] for table in tables)
        few = len(set(first.dropna()) | set(second.dropna())) <= FEW_NUMBERS
        if kinds[name] == CATEGORICAL or few:
            _bars(axes, first, second, by_value=kinds[name] == NUMERIC)
            note = ""
        else:
            _histogram(axes, first.to_numpy(), second.to_numpy())
            gone = first.isna().mean(), second.isna().mean()
            note = f"\nmissing: {gone[0]:.1%} real, {gone[1]:.1%} synth." if max(gone) > 0 else ""
        axes.set_title(shorten(name, 30) + note, fontsize=9)
        axes.tick_params(labelsize=7)
        open_frame(axes, grid=False)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    handles = [
        Patch(color=REAL, label=f"real, {len(real):,} rows"),
        Patch(color=SYNTHETIC, label=f"synthetic, {len(synthetic):,} rows"),
    ]
    more = f"the first {len(drawn)} of {len(names)} columns" if len(drawn) < len(names) else None
    figure.legend(
        handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=9, title=more
    )
    return figure


def _bars(axes: Axes, real: pd.Series, synthetic: pd.Series, by_value: bool) -> None:
    """Horizontal bars, one pair for a value; values that are equal in Python are one."""
    columns = real, synthetic
    counts = [column.value_counts(dropna=True) for column in columns]
    every: list[Any] = list(dict.fromkeys([*counts[0].index, *counts[1].index]))
    top = every if by_value else every[:MOST_BARS]  # value_counts has the most frequent first
    if len(every) == len(top) + 1:
        top = every  # a name is worth more than "other (1)"
    if by_value:
        top = sorted(top)
    short = by_value and len({f"{value:g}" for value in top}) == len(top)
    labels = [shorten(f"{value:g}" if short else str(value), 14) for value in top]
    shares = [
        [count.get(value, 0) / len(column) for value in top]
        for count, column in zip(counts, columns, strict=True)
    ]
    missing = [float(column.isna().mean()) for column in columns]
    if len(top) < len(every):
        labels.append(f"other ({len(every) - len(top):,})")
        for share, gone in zip(shares, missing, strict=True):
            share.append(1 - sum(share) - gone)
    if max(missing) > 0:
        labels.append("missing")
        for share, gone in zip(shares, missing, strict=True):
            share.append(gone)
    at = np.arange(len(labels))
    axes.barh(at - 0.2, shares[0], 0.4, color=REAL)
    axes.barh(at + 0.2, shares[1], 0.4, color=SYNTHETIC)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(labels)))))
    axes.set_yticklabels(labels)
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("share of rows", fontsize=7)


def _histogram(axes: Axes, real: np.ndarray, synthetic: np.ndarray) -> None:
    present = [values[~np.isnan(values)] for values in (real, synthetic)]
    both = np.concatenate(present)
    low, high = both.min(), both.max()
    inner = np.quantile(present[0] if len(present[0]) else both, [0.005, 0.995])
    open_ends = high - low > 3 * (inner[1] - inner[0]) > 0
    first, last = inner if open_ends else (low, high)
    edges = np.linspace(first, last, BINS + 1)
    shares = [
        np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        for values in present
    ]
    axes.stairs(shares[0], edges, fill=True, color=REAL)
    axes.stairs(shares[1], edges, color=SYNTHETIC, linewidth=1.3)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="x", scilimits=(-3, 4), useMathText=True)
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.set_ylabel("share", fontsize=7)
    if open_ends:
        axes.set_xlabel("outer bins hold the tails", fontsize=7)


def pair_difference(difference: Values, names: Sequence[str]) -> Figure:
    """How the association of two columns differs between the tables, as an image.

    Args:
        difference: (columns, columns), symmetric, not negative; NaN, shown by a hatch, where
            undefined. The diagonal is not looked at. See ``ordo.metrics.pair_associations``.
        names: of the columns.
    """
    table = square(difference, "difference", "columns")
    columns = len(table)
    check_labels(names, columns)
    apart = ~np.eye(columns, dtype=bool)
    values = table[apart & ~np.isnan(table)]
    side = min(8.0, max(4.6, 2.6 + 0.15 * columns))
    figure = new_figure(side + 0.8, side)
    figure.set_layout_engine("compressed")
    axes = figure.add_subplot()
    drawn = np.ma.masked_invalid(np.where(apart, table, np.nan))
    # From 0.1 on, so that sampling noise alone does not look like the worst there is.
    top = max(0.1, float(values.max())) if values.size else 0.1
    image = axes.imshow(drawn, cmap="cividis_r", vmin=0.0, vmax=top)
    figure.colorbar(image, ax=axes, label="|association, real − synthetic|")
    if values.size:
        caption = f"mean over pairs {values.mean():.3f}, largest {values.max():.3f}"
        axes.set_title(caption, fontsize=9, loc="left")
    position_ticks(axes.xaxis, columns, names)
    position_ticks(axes.yaxis, columns, names)
    undefined = ", or undefined" if np.isnan(table[apart]).any() else ""
    handle = hatch_background(axes, f"the column itself{undefined}")
    figure.legend(handles=[handle], loc="outside upper left", frameon=False, fontsize=8)
    return figure
