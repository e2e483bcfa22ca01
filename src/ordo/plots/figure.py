"""What all pictures share: the figure, the colours, ticks by position, legends, and saving."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
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

Values = ArrayLike | Tensor
Pair = tuple[Values, Values]

DPI = 150
FORMATS = ("png", "svg", "pdf")
MAX_LABEL_CHARACTERS = 20
MAX_NAME_CHARACTERS = 60  # of a series in a legend

# Okabe & Ito (2008) without yellow, which does not show as a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure, its size in inches, on an Agg canvas of its own.

    There is no state of pyplot, so the figure is safe in worker processes and without a display.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def array(values: Values) -> np.ndarray:
    """Any tensor or array as float64 NumPy."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()  # by way of torch: NumPy has no bfloat16
    return np.asarray(values, dtype=np.float64)


def series(pair: Pair, what: str, size: str = "n") -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one length. Raises ValueError, which says ``what`` they are, for others."""
    x, y = array(pair[0]), array(pair[1])
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"{what} must both have shape ({size},), got {x.shape} and {y.shape}")
    return x, y


def square(values: Values, what: str, side: str = "length") -> np.ndarray:
    """A square matrix. Raises ValueError, which says ``what`` it is, for another shape."""
    table = array(values)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.size == 0:
        raise ValueError(f"{what} must have shape ({side}, {side}), got {table.shape}")
    return table


def check_labels(labels: Sequence[str] | None, length: int) -> None:
    if labels is not None and len(labels) != length:
        raise ValueError(f"labels must name {length} positions, got {len(labels)}")


def shorten(label: str, most: int = MAX_LABEL_CHARACTERS) -> str:
    """The label on one line of at most ``most`` characters, so that it leaves room for the picture.

    A dollar sign is escaped: matplotlib would take it for the beginning of mathematics.
    """
    label = " ".join(label.split()) or "␣" * bool(label)
    label = label if len(label) <= most else label[: most - 1] + "…"
    return label.replace("$", r"\$")


def distinct(labels: Sequence[str], most: int) -> list[str]:
    """The labels as by ``shorten``; those that would look alike lose their middle instead."""
    short = [shorten(label, most) for label in labels]
    half = (most - 1) // 2
    return [
        shorten(f"{label[:half]}…{label[-half:]}", most)
        if short.count(cut) > 1 and len(label) > most
        else cut
        for label, cut in zip(labels, short, strict=True)
    ]


def wrapped(label: str, most: int) -> str:
    """The label of an axis in at most three lines of at most ``most`` characters.

    A label with a dollar sign holds mathematics and stays on one line.
    """
    lines = textwrap.wrap(label, most, max_lines=3, placeholder=" …")
    return label if "$" in label else "\n".join(lines)


def whole_numbers() -> MaxNLocator:
    """Ticks at whole numbers only, so few that labels of six digits stay apart."""
    return MaxNLocator(7, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def position_ticks(axis: Axis, length: int, labels: Sequence[str] | None, most: int = 32) -> None:
    """Ticks of an axis that counts positions from 0.

    There are at most ``most`` labels, each k-th where positions are more; whole numbers without.
    """
    if labels is None:
        axis.set_major_locator(whole_numbers())
        return
    ticks = range(0, length, math.ceil(length / most))
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_ticklabels(
        [shorten(labels[i]) for i in ticks],
        fontsize=9 if len(ticks) <= 16 else 7,
        rotation=90 if isinstance(axis, XAxis) else 0,
    )


def spread_apart(
    values: Sequence[float] | np.ndarray, gap: float, low: float, high: float
) -> np.ndarray:
    """Places in [low, high] in the order of the values, at least ``gap`` apart.

    The places are as near to the values as that allows. The gap is smaller where the values are
    too many for it.
    """
    wanted = np.asarray(values, dtype=np.float64)
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    steps = gap * np.arange(len(wanted))
    top = high - gap * (len(wanted) - 1)
    out = np.empty_like(wanted)
    # Least squares under y_i+1 >= y_i + gap is isotonic regression of the values minus i gaps.
    out[order] = isotonic_regression(wanted[order] - steps, y_min=low, y_max=top) + steps
    return out


def add_line(axes: Axes, i: int, x: np.ndarray, y: np.ndarray, name: str) -> str:
    """Draws curve number i with a colour and a line style of its own; returns the colour."""
    colour, style = COLOURS[i % len(COLOURS)], LINE_STYLES[i % len(LINE_STYLES)]
    marker = "o" if len(x) <= 25 else None
    axes.plot(x, y, color=colour, linestyle=style, marker=marker, markersize=3, label=name)
    return colour


def open_frame(axes: Axes, grid: bool = True) -> None:
    """Axes without a frame above and on the right, with a pale grid."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(alpha=0.3)


def note_beside(axes: Axes, y: float, text: str, colour: str = "0.35", gap: float = 4) -> None:
    """A small text on the right of the axes, at height y of the data; gap: points between."""
    axes.annotate(
        text, (1, y), xycoords=("axes fraction", "data"), xytext=(gap, 0),
        textcoords="offset points", va="center", color=colour, fontsize=8, annotation_clip=False,
    )  # fmt: skip


def coincident(lines: Sequence[Line2D]) -> list[list[Line2D]]:
    """The lines in groups, of which each looks like one line, in the order of their first lines.

    Two labels belong together if their lines are drawn in the same axes and lie in each of them
    within half a percent of the height of each other. Of a label in several axes the group has the
    first line. Markers without a line stay apart.
    """
    by_label: dict[str, dict[Axes, Line2D]] = {}
    for line in lines:
        if isinstance(line.axes, Axes):
            by_label.setdefault(str(line.get_label()), {})[line.axes] = line
    groups: list[list[str]] = []
    for name, drawn in by_label.items():
        for group in groups:
            other = by_label[group[0]]
            if drawn.keys() == other.keys() and all(_close(drawn[a], other[a]) for a in drawn):
                group.append(name)
                break
        else:
            groups.append([name])
    return [[next(iter(by_label[name].values())) for name in group] for group in groups]


def _close(one: Line2D, other: Line2D) -> bool:
    """Whether the eye cannot tell one line from the other, which is in the same axes."""
    axes = one.axes
    assert isinstance(axes, Axes)
    axes.get_xlim()  # either brings the limits up to date with the data
    axes.get_ylim()
    place = (axes.transScale + axes.transLimits).transform
    a, b = (np.asarray(line.get_xydata(), dtype=np.float64) for line in (one, other))
    if a.shape != b.shape or "None" in (one.get_linestyle(), other.get_linestyle()):
        return False
    return np.allclose(place(a), place(b), rtol=0, atol=0.005, equal_nan=True)


def legend_above(figure: Figure, lines: Sequence[Line2D], most: int = 4) -> None:
    """A legend above the axes, where the legend hides nothing.

    Lines of one label, in several axes, have one entry. So have lines that coincide: "a = b". A row
    has at most ``most`` entries, fewer where names are long. The figure grows by each row beyond
    the second.
    """
    if not lines:
        return
    room = int(13 * figure.get_figwidth())  # characters of a row at 9 points
    groups = coincident(lines)
    names = [
        shorten(
            " = ".join(str(line.get_label()) for line in group), min(MAX_NAME_CHARACTERS, room - 6)
        )
        for group in groups
    ]
    for columns in range(min(most, len(names)), 0, -1):
        rows = math.ceil(len(names) / columns)
        # A legend fills its columns one by one.
        longest = [max(map(len, names[i : i + rows])) for i in range(0, len(names), rows)]
        if sum(longest) + 6 * len(longest) <= room:  # 6: the line sample and the gap
            break
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, rows - 2))
    handles: Any = [tuple(group) for group in groups]  # a tuple is drawn as one sample
    place = {"loc": "outside upper center", "ncols": columns, "frameon": False, "fontsize": 9}
    figure.legend(handles, names, **place)


def hatch_background(axes: Axes, label: str) -> Patch:
    """Hatches the background of the axes, which shows where an image has no value.

    Returns the handle that says so in a legend.
    """
    axes.patch.set(facecolor="white", edgecolor="0.7", hatch="////", linewidth=0)
    return Patch(facecolor="white", edgecolor="0.6", hatch="////", linewidth=0.5, label=label)


def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG at 150 dpi, an SVG or a PDF, as the suffix says; whole or not at all.

    Makes the folder. The file depends on the figure alone: it has no date and no random names.
    Raises ValueError for another suffix.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: a picture is saved as {', '.join(FORMATS)}")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with rc_context({"svg.hashsalt": "ordo"}):
        write_whole(
            path, lambda partial: figure.savefig(partial, format=kind, dpi=DPI, metadata=undated)
        )
