"""What all pictures share: the figure, the colours, ticks by position, and saving."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from ordo.files import write_whole

DPI = 150
MAX_LABEL_CHARACTERS = 20
MAX_NAME_CHARACTERS = 60  # of a series in a legend

# Okabe & Ito (2008) without yellow, which does not show as a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure in inches, on its own Agg canvas: no pyplot state, so safe in workers and without a display."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def array(values: ArrayLike | Tensor) -> np.ndarray:
    """Any tensor or array as float64 NumPy."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()  # by way of torch: NumPy has no bfloat16
    return np.asarray(values, dtype=np.float64)


def check_labels(labels: Sequence[str] | None, length: int) -> None:
    if labels is not None and len(labels) != length:
        raise ValueError(f"labels must name {length} positions, got {len(labels)}")


def shorten(label: str, most: int = MAX_LABEL_CHARACTERS) -> str:
    """The label in at most ``most`` characters of one line, so that one long column name does not eat the picture; $ is no mathematics."""
    label = " ".join(label.split()) or "␣" * bool(label)
    label = label if len(label) <= most else label[: most - 1] + "…"
    return label.replace("$", r"\$")


def wrapped(label: str, most: int) -> str:
    """The label of an axis in lines of at most ``most`` characters, at most three; what is in $ is mathematics and stays whole."""
    return (
        label
        if "$" in label
        else "\n".join(textwrap.wrap(label, most, max_lines=3, placeholder=" …"))
    )


def whole_numbers() -> MaxNLocator:
    """Ticks at whole numbers only, so few that labels of six digits stay apart."""
    return MaxNLocator(7, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def position_ticks(axis: Axis, length: int, labels: Sequence[str] | None, most: int = 32) -> None:
    """Ticks of an axis that counts positions from 0: up to ``most`` labels, else every k-th; without labels whole numbers."""
    if labels is None:
        axis.set_major_locator(whole_numbers())
        return
    shown = range(0, length, math.ceil(length / most))
    axis.set_major_locator(FixedLocator(list(shown)))
    size = 9 if len(shown) <= 16 else 7
    axis.set_ticklabels(
        [shorten(labels[i]) for i in shown],
        fontsize=size,
        rotation=90 if isinstance(axis, XAxis) else 0,
    )


def spread_apart(
    values: Sequence[float] | np.ndarray, gap: float, low: float, high: float
) -> np.ndarray:
    """Places in [low, high], at least ``gap`` apart and as near to the values as that allows, in their order; a smaller gap where they
    are too many.
    """
    wanted = np.asarray(values, dtype=np.float64)
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    steps = gap * np.arange(len(wanted))
    out = np.empty_like(wanted)
    # Least squares under y_i+1 >= y_i + gap is isotonic regression of the values minus i gaps.
    out[order] = (
        isotonic_regression(wanted[order] - steps, y_min=low, y_max=high - gap * (len(wanted) - 1))
        + steps
    )
    return out


def add_line(axes: Axes, i: int, x: np.ndarray, y: np.ndarray, name: str) -> str:
    """Draws curve number i with a colour and a line style of its own; returns the colour."""
    colour = COLOURS[i % len(COLOURS)]
    style = LINE_STYLES[i % len(LINE_STYLES)]
    axes.plot(
        x,
        y,
        color=colour,
        linestyle=style,
        marker="o" if len(x) <= 25 else None,
        markersize=3,
        label=name,
    )
    return colour


def legend_above(figure: Figure, lines: Sequence[Line2D], most: int = 4) -> None:
    """A legend above the axes, where it hides nothing: the lines by their labels, at most ``most`` in a row, fewer where names are long.
    The figure grows by the rows beyond the second.
    """
    if not lines:
        return
    room = int(13 * figure.get_figwidth())  # characters of a row at 9 points
    names = [shorten(str(line.get_label()), min(MAX_NAME_CHARACTERS, room - 6)) for line in lines]
    for columns in range(min(most, len(names)), 0, -1):
        rows = math.ceil(len(names) / columns)
        longest = [
            max(map(len, names[i : i + rows])) for i in range(0, len(names), rows)
        ]  # a legend fills its columns one by one
        if sum(longest) + 6 * len(longest) <= room:  # 6: the line sample and the gap
            break
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, rows - 2))
    figure.legend(
        lines, names, loc="outside upper center", ncols=columns, frameon=False, fontsize=9
    )


def hatch_background(axes: Axes, label: str) -> Patch:
    """Hatches the axes' background, which shows where an image has no value; returns the handle that says so in a legend."""
    axes.patch.set(facecolor="white", edgecolor="0.7", hatch="////", linewidth=0)
    return Patch(facecolor="white", edgecolor="0.6", hatch="////", linewidth=0.5, label=label)


def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG at 150 dpi; a reader sees the old file or the whole new one, never a part. Makes the folder."""
    write_whole(Path(path), lambda partial: figure.savefig(partial, format="png", dpi=DPI))
