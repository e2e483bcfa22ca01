"""How much the order matters: the losses of many orders, beside named orders and bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ordo.plots.figure import (
    COLOURS,
    LINE_STYLES,
    Values,
    array,
    new_figure,
    open_frame,
    shorten,
    spread_apart,
)

LINE = 0.17  # inches from one label to the next
MARK_CHARACTERS = 40


def order_nll_violin(
    nll: Mapping[str, Values] | Values, marks: Mapping[str, float], unit: str = "nats"
) -> Figure:
    """Distribution of the mean loss over orders: a violin for every law, named values as lines.

    ``m = ordo.likelihood.many_orders(...)`` has both arguments: ``{"uniform": m.uniform, "own law":
    m.own}`` and ``m.marks()``.

    Args:
        nll: name -> (orders,), or one array: for every order the mean of -log p(x | order) over the
            same sequences, in ``unit``.
        marks: name -> value in ``unit``, such as that of left to right, the law's mode, bounds, the
            exact mixture. The labels stand apart even where the values do not, and a leader goes
            from each label to its line.

    Raises ValueError for another shape, and for values that are not finite.
    """
    named = nll if isinstance(nll, Mapping) else {"orders": nll}
    laws = {str(name): array(values) for name, values in named.items()}
    for name, values in laws.items():
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{name}: nll must have shape (orders,), got {values.shape}")
    lines = {str(name): float(value) for name, value in marks.items()}
    for name, values in (laws | {name: np.array([value]) for name, value in lines.items()}).items():
        if (bad := values[~np.isfinite(values)]).size:
            raise ValueError(f"{name}: values must be finite, got {bad[0]}")
    height = max(4.0, 0.9 + LINE * len(lines))
    longest = max((min(len(name), MARK_CHARACTERS) for name in lines), default=0)
    figure = new_figure(2.4 + 1.6 * max(len(laws), 2) + 0.075 * longest, height)
    axes = figure.add_subplot()
    dot = {"color": COLOURS[0], "markersize": 2.5, "markeredgewidth": 0, "alpha": 0.6}
    for i, values in enumerate(laws.values()):
        if np.ptp(values) > 1e-9 * np.abs(values).max():
            axes.violinplot(values, [i], widths=0.8, showextrema=False)
            look = {"facecolor": COLOURS[4], "edgecolor": COLOURS[0]}
            axes.collections[-1].set(alpha=0.5, linewidth=0.8, **look)
        side = 0.08 if len(values) > 1 else 0.0
        jitter = np.random.default_rng(0).uniform(-side, side, len(values))
        axes.plot(i + jitter, values, "o", **dot)
        axes.plot(i, values.mean(), "D", color="white", markeredgecolor="black", markersize=5)
    every = np.concatenate([*laws.values(), list(lines.values())])
    room = 0.06 * float(np.ptp(every)) or 0.05 * max(1.0, abs(float(every[0])))
    low, high = float(every.min()) - room, float(every.max()) + room
    axes.set_ylim(low, high)
    axes.set_xlim(-0.6, max(len(laws), 1) - 0.4)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(laws)))))
    counts = [f"{len(values)} order{'s' * (len(values) != 1)}" for values in laws.values()]
    axes.set_xticklabels([f"{shorten(n)}\n{c}" for n, c in zip(laws, counts, strict=True)])
    axes.set_ylabel(f"-log p in one order ({unit})")
    open_frame(axes, grid=False)
    at = [(value - low) / (high - low) for value in lines.values()]
    places = spread_apart(at, LINE / (height - 0.8), 0.0, 1.0) if lines else []
    leader = {"linewidth": 0.8, "transform": axes.transAxes, "clip_on": False}
    for i, (name, value) in enumerate(lines.items()):
        colour, place = COLOURS[1:][i % (len(COLOURS) - 1)], places[i]
        style = LINE_STYLES[i % len(LINE_STYLES)]
        axes.axhline(value, color=colour, linestyle=style, linewidth=1.2)
        axes.plot([1.0, 1.03, 1.05], [at[i], place, place], color=colour, **leader)
        digits = ".4f" if abs(value) < 100 else ".1f"
        axes.annotate(
            f"{shorten(name, MARK_CHARACTERS)}  {value:{digits}}", (1.06, place),
            xycoords="axes fraction", va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    figure.legend(
        axes.lines[:2], ["an order", "mean of the orders"], loc="outside upper left", ncols=2,
        frameon=False, fontsize=8, markerscale=1.4,
    )  # fmt: skip
    return figure
