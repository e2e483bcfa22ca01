"""What all pictures share: the figure, the colours, ticks by position, and saving."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

DPI = 150
MAX_LABEL_CHARACTERS = 20

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


def shorten(label: str) -> str:
    """The label in at most MAX_LABEL_CHARACTERS, so that one long column name does not eat the picture."""
    return label if len(label) <= MAX_LABEL_CHARACTERS else label[: MAX_LABEL_CHARACTERS - 1] + "…"


def position_ticks(axis: Axis, length: int, labels: Sequence[str] | None, most: int = 32) -> None:
    """Ticks of an axis that counts positions from 0: up to ``most`` labels, else every k-th; without labels whole numbers."""
    if labels is None:
        axis.set_major_locator(MaxNLocator(integer=True))
        return
    shown = range(0, length, math.ceil(length / most))
    axis.set_major_locator(FixedLocator(list(shown)))
    axis.set_ticklabels([shorten(labels[i]) for i in shown], fontsize=9 if len(shown) <= 16 else 7)


def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG at 150 dpi; a reader sees the old file or the whole new one, never a part. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # same folder: a rename across disks is not atomic
    try:
        figure.savefig(partial, format="png", dpi=DPI)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
