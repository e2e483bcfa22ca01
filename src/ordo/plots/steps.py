"""How to spend calls: the information profile, and the step sizes that lose least by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ordo.plots.figure import (
    COLOURS,
    Values,
    array,
    new_figure,
    note_beside,
    open_frame,
    shorten,
    whole_numbers,
)
from ordo.samplers.information import factorisation_kl

WIDTH = 4.2  # inches that the sequence takes in the picture, about


def step_sizes(
    profile: Values,
    sizes: Mapping[str, Sequence[int]] | Sequence[Sequence[int]],
    unit: str = "nats",
) -> Figure:
    """The loss of the next token by number revealed; below it the steps of several ways to decode.

    Beside each way stands what it loses against decoding one by one: ``factorisation_kl``.

    Args:
        profile: (length,), the loss of the next token by number revealed, in ``unit``.
        sizes: for every row the tokens revealed in each step, which sum to length, such as
            ``[best_sizes(profile, k) for k in (4, 8, 16)]``; or name -> sizes.

    Raises ValueError for another shape, no rows, or sizes of another sum.
    """
    f = array(profile)
    if f.ndim != 1 or f.size == 0:
        raise ValueError(f"profile must have shape (length,), got {f.shape}")
    rows = (
        list(sizes.items())
        if isinstance(sizes, Mapping)
        else [(f"{len(row)} call{'s' * (len(row) != 1)}", row) for row in sizes]
    )
    if not rows:
        raise ValueError("no step sizes; give at least one row")
    lost = [factorisation_kl(torch.from_numpy(f), list(row)) for _, row in rows]
    lost = [0.0 if abs(value) < 1e-9 * np.abs(f).sum() else value for value in lost]  # of rounding
    length = len(f)
    below = 0.26 * len(rows) + 0.1
    figure = new_figure(6.4, 3.0 + below)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, below])
    marker = "o" if length <= 25 else None
    top.plot(np.arange(length), f, color=COLOURS[0], marker=marker, markersize=3)
    top.set_ylabel(f"loss of the next token ({unit})")
    top.set_ylim(min(0.0, float(np.nanmin(f))) if np.isfinite(f).any() else 0.0)
    open_frame(top)
    middle = {"ha": "center", "va": "center", "fontsize": 7}
    for i, (_, row) in enumerate(rows):
        bars = [(s - 0.5, n) for s, n in zip(np.cumsum([0, *row[:-1]]), row, strict=True)]
        # Light and dark in turn, in grey print too.
        shades = [COLOURS[4 if k % 2 == 0 else 0] for k in range(len(row))]
        bottom.broken_barh(bars, (i - 0.38, 0.76), facecolors=shades)
        for k, (start, n) in enumerate(bars):
            if n / length * WIDTH > 0.07 * len(str(n)) + 0.06:
                ink = "black" if k % 2 == 0 else "white"
                bottom.text(start + n / 2, i, str(n), color=ink, **middle)
        note_beside(bottom, i, f"KL {lost[i]:.3g}", colour="black", gap=6)
    bottom.set_ylim(len(rows) - 0.5, -0.5)
    bottom.set_xlim(-0.5, length - 0.5)
    bottom.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    bottom.set_yticklabels([shorten(name) for name, _ in rows], fontsize=8)
    bottom.tick_params(axis="y", length=0)
    bottom.set_title(
        f"steps, with their tokens; KL to decoding one by one ({unit})", fontsize=8, loc="left"
    )
    bottom.set_xlabel("tokens revealed")
    bottom.xaxis.set_major_locator(whole_numbers())
    bottom.spines[["top", "right", "left"]].set_visible(False)
    return figure
