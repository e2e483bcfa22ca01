"""How sequences came about, as a file: arrays of all, a page of some, or a film of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ordo.files import write_whole
from ordo.plots.trace_gif import save_trace_gif
from ordo.plots.trace_page import trace_page
from ordo.plots.trace_rows import TraceView
from ordo.samplers import Trace

TRACES = {".npz": 0, ".html": 8, ".gif": 1}  # suffix: sequences shown, of which every step is kept
ARRAYS = ("tokens", "rank", "step", "log_prob", "remasked", "calls")


def save_trace(path: Path, trace: Trace, symbols: list[list[str]], view: TraceView) -> None:
    """Writes the file, whole or not at all.

    Args:
        symbols: the string of every token of the sequences shown.
        view: without title and note, which are made from the file's name and what is shown.
    """
    if path.suffix == ".npz":
        arrays = {name: getattr(trace, name).numpy() for name in ARRAYS}
        write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))
        return
    if path.suffix == ".gif":
        film = replace(view, title=f"{view.sampler}, seed {view.seed}")
        save_trace_gif(trace, symbols[0], path, film)
        return
    n = len(trace.tokens)
    note = f"the first {len(symbols)} of {n}" if len(symbols) < n else None
    shown = replace(view, title=f"Generation trace: {path.stem}", note=note)
    page = trace_page(trace, symbols, shown)
    write_whole(path, lambda partial: partial.write_text(page, encoding="utf-8"))
