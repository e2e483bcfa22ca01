"""The gradient that reaches the schedule: how noisy it is, and how much of it is signal."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import COLOURS, array, new_figure


def gradient_signal(steps: ArrayLike | Tensor, variance: ArrayLike | Tensor, signal_to_noise: ArrayLike | Tensor) -> Figure:
    """Variance and signal-to-noise ratio of the schedule's gradient against the training step, logarithmic, one above the other.

    steps, variance, signal_to_noise: (n,). NaN and values that are not positive leave gaps.
    """
    x = array(steps)
    figure = new_figure(6.4, 5.2)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, values, label in zip(panels, (variance, signal_to_noise), ("variance (trace, per step)", "signal to noise"), strict=True):
        y = array(values)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"steps and values must both have shape (n,), got {x.shape} and {y.shape}")
        y = np.where(y > 0, y, np.nan)
        axes.plot(x, y, color=COLOURS[0], marker="o" if len(x) <= 25 else None, markersize=3)
        if np.isfinite(y).any():
            axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[1].axhline(1.0, color="0.45", linestyle="--", linewidth=1)
    panels[1].set_xlabel("training step")
    return figure
