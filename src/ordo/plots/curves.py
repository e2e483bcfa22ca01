"""Losses against the number of revealed tokens and against training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import COLOURS, LINE_STYLES, array, new_figure

LEGEND_CHARACTERS = 84  # what a row of the legend holds at 9 points in 6.4 inches

Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def _line(axes: Axes, i: int, x: np.ndarray, y: np.ndarray, name: str) -> str:
    """Draws curve number i with a colour and a line style of its own; returns the colour."""
    colour = COLOURS[i % len(COLOURS)]
    style = LINE_STYLES[i % len(LINE_STYLES)]
    axes.plot(x, y, color=colour, linestyle=style, marker="o" if len(x) <= 25 else None, markersize=3, label=name)
    return colour


def loss_by_revealed(curves: Mapping[str, Pair], unit: str = "nats") -> Figure:
    """Mean loss of the next token against the number of tokens revealed before it, one curve per order law.

    curves: name -> (mean (length,), standard_error (length,)), in ``unit``. The band is two standard errors either way.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(curves.items()):
        mean, error = array(pair[0]), array(pair[1])
        if mean.ndim != 1 or mean.shape != error.shape:
            raise ValueError(f"{name}: mean and standard error must have shape (length,), got {mean.shape} and {error.shape}")
        revealed = np.arange(len(mean))
        colour = _line(axes, i, revealed, mean, name)
        axes.fill_between(revealed, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("tokens revealed")
    axes.set_ylabel(f"loss of the next token ({unit}, ± 2 s.e.)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(figure, axes)
    return figure


def training_curves(series: Mapping[str, Pair], xlabel: str, ylabel: str) -> Figure:
    """Curves against training: series name -> (x (n,), y (n,)); n may differ between series. Labels should name the units."""
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(series.items()):
        x, y = array(pair[0]), array(pair[1])
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"{name}: x and y must both have shape (n,), got {x.shape} and {y.shape}")
        _line(axes, i, x, y, name)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _finish(figure, axes)
    return figure


def against_calls(panels: Mapping[str, Mapping[str, Pair]]) -> Figure:
    """What samplers reach against the denoiser calls they spend, on a logarithmic axis; a panel a measure, side by side.

    panels: label of the measure -> series name -> (calls (n,), value (n,)); a series has one colour and style in all panels.
    """
    figure = new_figure(5.2 * max(1, len(panels)), 4.8)
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    for i, (label, series) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for name, pair in series.items():
            x, y = array(pair[0]), array(pair[1])
            if x.ndim != 1 or x.shape != y.shape:
                raise ValueError(f"{name}: calls and values must both have shape (n,), got {x.shape} and {y.shape}")
            _line(axes, names.index(name), x, y, name)
        axes.set_xscale("log", base=2)
        values = np.concatenate([array(y) for _, y in series.values()]) if series else np.ones(1)
        axes.set_yscale("log" if 0 < 8 * values.min() < values.max() else "linear")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("denoiser calls a sequence")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend([handles[n] for n in names], names, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _finish(figure: Figure, axes: Axes) -> None:
    """A grid, and the legend above the curves, where it hides none."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    names = [str(line.get_label()) for line in axes.get_lines()]
    if names:
        fit = LEGEND_CHARACTERS // (6 + max(map(len, names)))  # 6: the line sample and the gap
        figure.legend(loc="outside upper center", ncols=max(1, min(len(names), 4, fit)), frameon=False, fontsize=9)
