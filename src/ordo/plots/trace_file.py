"""How sequences came about, as a file: arrays of all, a page of the first ones, or a film of the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ordo.files import write_whole
from ordo.plots.trace_gif import save_trace_gif
from ordo.plots.trace_page import trace_page
from ordo.samplers import Trace

TRACES = {".npz": 0, ".html": 8, ".gif": 1}  # suffix: sequences shown, of which every step is kept
ARRAYS = ("tokens", "rank", "step", "log_prob", "remasked", "calls")


def save_trace(
    path: Path,
    trace: Trace,
    symbols: list[list[str]],
    *,
    sampler: str,
    seed: int,
    layout: Mapping[str, Any],
) -> None:
    """Writes the file whole or not at all.

    symbols: the string of every token of the sequences shown. layout: arguments of ``trace_page``.
    """
    if path.suffix == ".npz":
        arrays = {name: getattr(trace, name).numpy() for name in ARRAYS}
        write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))
        return
    if path.suffix == ".gif":
        save_trace_gif(trace, symbols[0], path, title=f"{sampler}, seed {seed}", **layout)
        return
    n = len(trace.tokens)
    note = f"the first {len(symbols)} of {n}" if len(symbols) < n else None
    page = trace_page(
        trace,
        symbols,
        title=f"Generation trace: {path.stem}",
        sampler=sampler,
        seed=seed,
        note=note,
        **layout,
    )
    write_whole(path, lambda partial: partial.write_text(page, encoding="utf-8"))
