"""Losses against the number of revealed tokens and against training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ordo.plots.figure import (
    Pair,
    add_line,
    array,
    legend_above,
    new_figure,
    open_frame,
    series,
    whole_numbers,
    wrapped,
)


def loss_by_revealed(curves: Mapping[str, Pair], unit: str = "nats") -> Figure:
    """Mean loss of the next token by the number of tokens revealed before, a curve per order law.

    The axis of losses begins at 0, so that areas below the curves compare: an area is the loss of
    a sequence. Curves that coincide have one entry in the legend, "a = b".

    Args:
        curves: name -> (mean, standard error), both (length,), in ``unit``. The band is two
            standard errors either way.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(curves.items()):
        mean, error = series(pair, f"{name}: mean and standard error", "length")
        revealed = np.arange(len(mean))
        colour = add_line(axes, i, revealed, mean, name)
        low, high = mean - 2 * error, mean + 2 * error
        axes.fill_between(revealed, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("tokens revealed")
    axes.set_ylabel(f"loss of the next token\n({unit}, ± 2 s.e.)")
    axes.xaxis.set_major_locator(whole_numbers())
    _from_zero(axes)
    _finish(figure, axes)
    return figure


def training_curves(
    curves: Mapping[str, Pair],
    xlabel: str,
    ylabel: str,
    from_zero: bool = False,
    log: bool = False,
) -> Figure:
    """Curves against training, or against another number.

    Curves that coincide have one entry in the legend, "a = b".

    Args:
        curves: name -> (x, y), both (n,); n may differ between curves.
        xlabel, ylabel: of the axes; they should name the units.
        from_zero: the axis of values begins at 0, for values whose ratios or areas matter.
        log: the axis of values is logarithmic; values that are not positive leave gaps.

    Raises ValueError for other shapes, and for ``log`` with ``from_zero``.
    """
    if log and from_zero:
        raise ValueError("log and from_zero: a logarithmic axis has no 0; choose one of them")
    figure = new_figure()
    axes = figure.add_subplot()
    for i, (name, pair) in enumerate(curves.items()):
        add_line(axes, i, *series(pair, f"{name}: x and y"), name)
    if all((array(x) % 1 == 0).all() for x, _ in curves.values()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(wrapped(xlabel, 75))
    axes.set_ylabel(wrapped(ylabel, 40))
    if log:
        axes.set_yscale("log", nonpositive="mask")
    if from_zero:
        _from_zero(axes)
    _finish(figure, axes)
    return figure


def against_calls(panels: Mapping[str, Mapping[str, Pair]]) -> Figure:
    """What samplers reach against the denoiser calls that they spend, a panel for each measure.

    The axis of calls is logarithmic; so is that of values, where the largest is at least 8 times
    the least and the least is no rounded 0. A sampler has one colour and style in all panels.

    Args:
        panels: label of the measure -> name of the sampler -> (calls, value), both (n,).
    """
    figure = new_figure(5.2 * max(1, len(panels)), 4.8)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for i, (label, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for name, pair in curves.items():
            add_line(axes, names.index(name), *series(pair, f"{name}: calls and values"), name)
        axes.set_xscale("log", base=2)
        values = np.concatenate([array(y) for _, y in curves.values()]) if curves else np.ones(1)
        # Below 1e-9 of the largest value there is nothing but rounding.
        wide = 1e-9 * values.max() < values.min() < values.max() / 8
        axes.set_yscale("log" if wide else "linear")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("denoiser calls a sequence")
        axes.set_ylabel(wrapped(label, 45))
        open_frame(axes, grid=False)
        axes.grid(alpha=0.3, which="both")
    drawn = [line for axes in figure.axes for line in axes.get_lines()]
    drawn.sort(key=lambda line: names.index(str(line.get_label())))
    legend_above(figure, drawn, most=3)
    return figure


def _from_zero(axes: Axes) -> None:
    """Lets the axis of values begin at 0, or below where values are negative."""
    low, high = axes.get_ylim()
    data = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    if all((values[np.isfinite(values)] >= 0).all() for values in data):
        low = 0.0
    axes.set_ylim(min(low, 0.0), max(high, 0.0))


def _finish(figure: Figure, axes: Axes) -> None:
    open_frame(axes)
    legend_above(figure, axes.get_lines())
