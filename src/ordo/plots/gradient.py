"""The gradient that reaches the schedule: how noisy it is, and how much of it is signal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import add_line, array, legend_above, new_figure, whole_numbers

Series = Mapping[str, ArrayLike | Tensor] | ArrayLike | Tensor


def gradient_signal(steps: Series, variance: Series, signal_to_noise: Series) -> Figure:
    """Variance and signal-to-noise ratio of the schedule's gradient against the training step, logarithmic, one above the other.

    variance: (n,), trace of the covariance over a running window of steps. signal_to_noise: (n,),
    ``|mean|^2 / (variance / window)``, about 1 where the mean is nothing but noise. steps: (n,). Each may be name -> (n,) for several
    series, say one an estimator; ``steps`` may then still be one array, of all. NaN and values that are not positive leave gaps.

    Raises ValueError for other shapes and for names that do not agree.
    """
    of_variance = dict(variance) if isinstance(variance, Mapping) else {"": variance}
    of_signal = (
        dict(signal_to_noise) if isinstance(signal_to_noise, Mapping) else {"": signal_to_noise}
    )
    at = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(of_variance, steps)
    if not list(at) == list(of_variance) == list(of_signal):
        raise ValueError(
            f"steps, variance and signal_to_noise name different series: {list(at)}, {list(of_variance)}, {list(of_signal)}"
        )
    figure = new_figure(6.4, 5.2)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, series, label in zip(
        panels,
        (of_variance, of_signal),
        ("variance of the gradient\n(trace, per step)", "signal to noise\n(running mean)"),
        strict=True,
    ):
        drawn = []
        for i, (name, values) in enumerate(series.items()):
            x, y = array(at[name]), array(values)
            if x.ndim != 1 or x.shape != y.shape:
                raise ValueError(
                    f"{name or 'series'}: steps and values must both have shape (n,), got {x.shape} and {y.shape}"
                )
            y = np.where(y > 0, y, np.nan)  # a logarithmic axis has no place for the others
            add_line(axes, i, x, y, name)
            drawn.append(y[np.isfinite(y)])
        values = np.concatenate([*drawn, [1.0]] if series is of_signal else [*drawn, []])
        if values.size:
            axes.set_yscale("log")
            axes.set_ylim(
                0.6 * values.min(), 1.7 * values.max()
            )  # a flat curve too is on an axis with ticks
        else:
            axes.text(
                0.5,
                0.5,
                "no value above 0",
                transform=axes.transAxes,
                ha="center",
                color="0.35",
                fontsize=8,
            )
            axes.set_yticks([])
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].axhline(1.0, color="0.45", linestyle="--", linewidth=1)
    panels[1].annotate(
        "noise\nalone", (1, 1.0), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points", va="center",
        color="0.35", fontsize=8, annotation_clip=False,
    )  # fmt: skip
    panels[1].set_xlabel("training step")
    panels[1].xaxis.set_major_locator(whole_numbers())
    if list(of_variance) != [""]:
        legend_above(figure, panels[0].get_lines())
    return figure
