"""How sequences were decoded, step by step, as a page of HTML that needs nothing else: no network, no framework, no server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from ordo.plots.trace_rows import LEAST_OPACITY, Layout, Revised, Row, row_of, step_colours, visible
from ordo.samplers import Trace

STOPS = 24  # of the colour scale; between them it is linear


def trace_page(
    trace: Trace,
    symbols: Sequence[Sequence[str]],
    *,
    title: str = "Generation trace",
    sampler: str | None = None,
    seed: int | None = None,
    note: str | None = None,
    labels: Sequence[str] | None = None,
    layout: str = "text",
    names: Sequence[str] | None = None,
    columns: int | None = None,
    box: int | None = None,
    revised: Revised | None = None,
) -> str:
    """The page, HTML. It shows after every step which tokens stand where: a slider, play, arrow keys; coloured by the step that revealed
    them, the paler the less probable they were; rank, step and probability of each at the pointer; and the order of positions as a strip.

    trace: of one or several rows. Where tokens were masked again it needs its history: ``sample(..., history=True)``.
    symbols: of every row to show the string of every token; where shorter than the trace, the other positions are absent.
    title, sampler, seed, note: for the head of the page. labels: names of the rows, else their numbers from 1.
    layout: "text"; "table", then names has one for every position; or "board", then columns is the cells of a line and box, if there are
    any, the cells of a box's side (9 and 3 for a Sudoku).
    revised: (position, token) -> its string, of tokens that were masked again later; only needed where there are such.

    Raises ValueError for arguments that do not fit the trace or one another.
    """
    return _render(
        "trace.html.j2",
        trace,
        symbols,
        title,
        sampler,
        seed,
        note,
        labels,
        Layout(layout, names, columns, box),
        revised,
    )


def trace_fragment(
    trace: Trace,
    symbols: Sequence[Sequence[str]],
    *,
    title: str = "Generation trace",
    sampler: str | None = None,
    seed: int | None = None,
    note: str | None = None,
    labels: Sequence[str] | None = None,
    layout: str = "text",
    names: Sequence[str] | None = None,
    columns: int | None = None,
    box: int | None = None,
    revised: Revised | None = None,
) -> str:
    """``trace_page`` without the page: a <section> with its own styles and script, for the body of another page, several times if wanted.
    It has no ids, and its styles reach nothing outside of it.
    """
    return _render(
        "trace_fragment.html.j2",
        trace,
        symbols,
        title,
        sampler,
        seed,
        note,
        labels,
        Layout(layout, names, columns, box),
        revised,
    )


def _render(
    template: str,
    trace: Trace,
    symbols: Sequence[Sequence[str]],
    title: str,
    sampler: str | None,
    seed: int | None,
    note: str | None,
    labels: Sequence[str] | None,
    layout: Layout,
    revised: Revised | None,
) -> str:
    if not symbols:
        raise ValueError("symbols must be of at least one row")
    rows = [row_of(trace, i, own, revised) for i, own in enumerate(symbols)]
    for row in rows:
        layout.check(len(row.given))
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"labels must name {len(rows)} rows, got {len(labels)}")
    colours = np.round(255 * step_colours(STOPS)).astype(int).tolist()
    environment = Environment(
        loader=PackageLoader("ordo.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(
        title=title,
        sampler=sampler,
        seed=seed,
        note=note,
        kind=layout.kind,
        labels=labels or [f"{i + 1} of {len(rows)}" for i in range(len(rows))],
        colours=colours,
        middle=colours[STOPS // 3],
        least=LEAST_OPACITY,
        any_given=any(symbol is not None for row in rows for symbol in row.given),
        any_revised=any(event.symbol is None for row in rows for event in row.events),
        data=htmlsafe_json_dumps(
            page_data(rows, layout, colours), separators=(",", ":"), allow_nan=False
        ),
    )


def page_data(rows: list[Row], layout: Layout, colours: list[list[int]]) -> dict[str, Any]:
    """What the page's script reads. Strings are listed once and named by their number; events of a row are three lists, and how many of
    them each step has.
    """
    numbers: dict[str, int] = {}

    def number(symbol: str | None) -> int:
        return -1 if symbol is None else numbers.setdefault(symbol, len(numbers))

    def nats(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None  # JSON has no -inf

    described = [
        {
            "given": [number(symbol) for symbol in row.given],
            "sizes": np.bincount([event.step for event in row.events], minlength=row.steps).tolist()
            if row.steps
            else [],
            "position": [event.position for event in row.events],
            "symbol": [number(event.symbol) for event in row.events],
            "log_prob": [nats(event.log_prob) for event in row.events],
            "remasked": row.remasked if any(row.remasked) else [],
            "calls": row.calls,
            "total": nats(row.log_prob),
        }
        for row in rows
    ]
    shown = {i: visible(symbol, spaces=layout.kind != "table") for symbol, i in numbers.items()}
    return {
        "kind": layout.kind,
        "names": None if layout.names is None else list(layout.names),
        "columns": layout.columns,
        "box": layout.box,
        "colours": colours,
        "least": LEAST_OPACITY,
        "symbols": list(numbers),
        "shown": {
            i: text
            for (symbol, i), text in zip(numbers.items(), shown.values(), strict=True)
            if text != symbol
        },
        "rows": described,
    }
