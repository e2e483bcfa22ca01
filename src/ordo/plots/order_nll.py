"""How much the order matters: the loss of many orders, and where named ones and bounds lie among them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import ArrayLike
from torch import Tensor

from ordo.plots.figure import COLOURS, LINE_STYLES, array, new_figure, shorten, spread_apart

LINE = 0.17  # inches from one label to the next
MARK_CHARACTERS = 40


def order_nll_violin(
    nll: Mapping[str, ArrayLike | Tensor] | ArrayLike | Tensor,
    marks: Mapping[str, float],
    unit: str = "nats",
) -> Figure:
    """Distribution over orders of the mean loss, a violin for every law, with named values as lines across.

    nll: name -> (orders,), or one array: the mean of -log p(x | order) over the same sequences for every order, in ``unit``. marks:
    name -> value in ``unit``: left to right, the law's mode, bounds, the exact mixture. Their labels stand apart even where values do
    not, with a leader to each line. ``ordo.likelihood.many_orders`` has both: ``{"uniform": m.uniform, "own law": m.own}``, ``m.marks()``.

    Raises ValueError for another shape, and for values that are not finite.
    """
    laws = {
        str(name): array(values)
        for name, values in (nll if isinstance(nll, Mapping) else {"orders": nll}).items()
    }
    for name, values in laws.items():
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{name}: nll must have shape (orders,), got {values.shape}")
    lines = {str(name): float(value) for name, value in marks.items()}
    for name, values in (laws | {name: np.array([value]) for name, value in lines.items()}).items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name}: values must be finite, got {values[~np.isfinite(values)][0]}"
            )
    height = max(4.0, 0.9 + LINE * len(lines))
    longest = max((min(len(name), MARK_CHARACTERS) for name in lines), default=0)
    figure = new_figure(2.4 + 1.6 * max(len(laws), 2) + 0.075 * longest, height)
    axes = figure.add_subplot()
    for i, (_, values) in enumerate(laws.items()):
        if np.ptp(values) > 1e-9 * np.abs(values).max():
            (body,) = axes.violinplot(values, [i], widths=0.8, showextrema=False)["bodies"]  # type: ignore[misc]
            body.set(facecolor=COLOURS[4], edgecolor=COLOURS[0], alpha=0.5, linewidth=0.8)
        jitter = (
            np.random.default_rng(0).uniform(-0.08, 0.08, len(values))
            if len(values) > 1
            else np.zeros(1)
        )
        axes.plot(
            i + jitter, values, "o", color=COLOURS[0], markersize=2.5, markeredgewidth=0, alpha=0.6
        )
        axes.plot(i, values.mean(), "D", color="white", markeredgecolor="black", markersize=5)
    every = np.concatenate([*laws.values(), list(lines.values())])
    room = 0.06 * float(np.ptp(every)) or 0.05 * max(1.0, abs(float(every[0])))
    low, high = float(every.min()) - room, float(every.max()) + room
    axes.set_ylim(low, high)
    axes.set_xlim(-0.6, max(len(laws), 1) - 0.4)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(laws)))))
    axes.set_xticklabels(
        [
            f"{shorten(name)}\n{len(values)} order{'s' * (len(values) != 1)}"
            for name, values in laws.items()
        ]
    )
    axes.set_ylabel(f"-log p in one order ({unit})")
    axes.spines[["top", "right"]].set_visible(False)
    places = (
        []
        if not lines
        else spread_apart(
            [(value - low) / (high - low) for value in lines.values()],
            LINE / (height - 0.8),
            0.0,
            1.0,
        )
    )
    for i, ((name, value), place) in enumerate(zip(lines.items(), places, strict=True)):
        colour = COLOURS[1:][i % (len(COLOURS) - 1)]
        axes.axhline(
            value, color=colour, linestyle=LINE_STYLES[i % len(LINE_STYLES)], linewidth=1.2
        )
        at = (value - low) / (high - low)
        axes.plot(
            [1.0, 1.03, 1.05],
            [at, place, place],
            color=colour,
            linewidth=0.8,
            transform=axes.transAxes,
            clip_on=False,
        )  # leader
        axes.annotate(
            f"{shorten(name, MARK_CHARACTERS)}  {value:{'.4f' if abs(value) < 100 else '.1f'}}", (1.06, place), xycoords="axes fraction",
            va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    handles = [axes.lines[0], axes.lines[1]]
    figure.legend(
        handles,
        ["an order", "mean of the orders"],
        loc="outside upper left",
        ncols=2,
        frameon=False,
        fontsize=8,
        markerscale=1.4,
    )
    return figure
