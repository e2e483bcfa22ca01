"""Losses against the number of revealed tokens and against training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import add_line, array, legend_above, new_figure, whole_numbers, wrapped

Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def loss_by_revealed(curves: Mapping[str, Pair], unit: str = "nats") -> Figure:
    """Mean loss of the next token against the number of tokens revealed before it, one curve per order law.

    curves: name -> (mean (length,), standard_error (length,)), in ``unit``. The band is two standard errors either way.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(curves.items()):
        mean, error = array(pair[0]), array(pair[1])
        if mean.ndim != 1 or mean.shape != error.shape:
            raise ValueError(
                f"{name}: mean and standard error must have shape (length,), got {mean.shape} and {error.shape}"
            )
        revealed = np.arange(len(mean))
        colour = add_line(axes, i, revealed, mean, name)
        axes.fill_between(
            revealed, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.2, linewidth=0
        )
    axes.set_xlabel("tokens revealed")
    axes.set_ylabel(f"loss of the next token\n({unit}, ± 2 s.e.)")
    axes.xaxis.set_major_locator(whole_numbers())
    _finish(figure, axes)
    return figure


def training_curves(series: Mapping[str, Pair], xlabel: str, ylabel: str) -> Figure:
    """Curves against training: series name -> (x (n,), y (n,)); n may differ between series. Labels should name the units."""
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(series.items()):
        x, y = array(pair[0]), array(pair[1])
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(
                f"{name}: x and y must both have shape (n,), got {x.shape} and {y.shape}"
            )
        add_line(axes, i, x, y, name)
    if all((array(x) % 1 == 0).all() for x, _ in series.values()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(wrapped(xlabel, 75))
    axes.set_ylabel(wrapped(ylabel, 40))
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
                raise ValueError(
                    f"{name}: calls and values must both have shape (n,), got {x.shape} and {y.shape}"
                )
            add_line(axes, names.index(name), x, y, name)
        axes.set_xscale("log", base=2)
        values = np.concatenate([array(y) for _, y in series.values()]) if series else np.ones(1)
        axes.set_yscale("log" if 0 < 8 * values.min() < values.max() else "linear")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("denoiser calls a sequence")
        axes.set_ylabel(wrapped(label, 45))
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    legend_above(figure, [handles[name] for name in names], most=3)
    return figure


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    legend_above(figure, axes.get_lines())
