"""Gradients: how much of the schedule's is signal, how long they are, and the rates beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ordo.plots.figure import (
    Pair,
    Values,
    add_line,
    legend_above,
    new_figure,
    note_beside,
    open_frame,
    series,
    whole_numbers,
)

Series = Mapping[str, Values] | Values
LABELS = ("variance of the gradient\n(trace, per step)", "signal to noise\n(running mean)")


def gradient_signal(steps: Series, variance: Series, signal_to_noise: Series) -> Figure:
    """Variance and signal-to-noise ratio of the schedule's gradient against the training step.

    Both axes of values are logarithmic: NaN and values that are not positive leave gaps.

    Args:
        steps: (n,).
        variance: (n,), trace of the covariance over a running window of steps.
        signal_to_noise: (n,), ``|mean|^2 / (variance / window)``; about 1 where the mean is noise
            alone.
    Each may be name -> (n,) for several series, such as one for each estimator; ``steps`` may then
    still be one array for all.

    Raises ValueError for other shapes and for names that do not agree.
    """
    of_variance = dict(variance) if isinstance(variance, Mapping) else {"": variance}
    signals = signal_to_noise if isinstance(signal_to_noise, Mapping) else {"": signal_to_noise}
    of_signal = dict(signals)
    at = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(of_variance, steps)
    if not list(at) == list(of_variance) == list(of_signal):
        raise ValueError(
            "steps, variance and signal_to_noise name different series: "
            f"{list(at)}, {list(of_variance)}, {list(of_signal)}"
        )
    figure = new_figure(6.4, 5.2)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, panel, label in zip(panels, (of_variance, of_signal), LABELS, strict=True):
        # The line of noise alone is always drawn.
        drawn = [np.ones(1) if panel is of_signal else np.ones(0)]
        for i, (name, values) in enumerate(panel.items()):
            x, y = series((at[name], values), f"{name or 'series'}: steps and values")
            y = np.where(y > 0, y, np.nan)  # a logarithmic axis has no place for other values
            add_line(axes, i, x, y, name)
            drawn.append(y[np.isfinite(y)])
        every = np.concatenate(drawn)
        if every.size:
            axes.set_yscale("log")
            # With this room a flat curve too has an axis with ticks.
            axes.set_ylim(0.6 * every.min(), 1.7 * every.max())
        else:
            middle = {"transform": axes.transAxes, "ha": "center"}
            axes.text(0.5, 0.5, "no value above 0", color="0.35", fontsize=8, **middle)
            axes.set_yticks([])
        axes.set_ylabel(label)
        open_frame(axes)
    panels[1].axhline(1.0, color="0.45", linestyle="--", linewidth=1)
    note_beside(panels[1], 1.0, "noise\nalone")
    panels[1].set_xlabel("training step")
    panels[1].xaxis.set_major_locator(whole_numbers())
    if list(of_variance) != [""]:
        legend_above(figure, panels[0].get_lines())
    return figure


def rates_and_norms(rates: Mapping[str, Pair], norms: Mapping[str, Pair]) -> Figure:
    """Learning rates on the left, gradient norms on the right, against the training step.

    Both axes of values are logarithmic: values that are not positive leave gaps. A name has one
    colour and style in both panels.

    Args:
        rates, norms: name of a part of the model -> (steps, values), both (n,).

    Raises ValueError for other shapes.
    """
    figure = new_figure(6.4, 2.8)
    names = list(dict.fromkeys([*rates, *norms]))
    panels = zip(
        figure.subplots(1, 2),
        (rates, norms),
        ("learning rate", "norm of the gradient\n(before clipping)"),
        strict=True,
    )
    for axes, curves, label in panels:
        axes.set_yscale("log", nonpositive="mask")
        for name, pair in curves.items():
            x, y = series(pair, f"{name}: steps and values")
            add_line(axes, names.index(name), x, np.where(y > 0, y, np.nan), name)
        axes.set_xlabel("training step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], integer=True))
        open_frame(axes)
    drawn = [line for axes in figure.axes for line in axes.get_lines()]
    legend_above(figure, drawn)
    return figure
