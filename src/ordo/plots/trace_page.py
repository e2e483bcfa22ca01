"""How sequences were decoded, step by step, as a page of HTML that works without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from ordo.plots.trace_rows import (
    LAYOUTS,
    LEAST_OPACITY,
    Layout,
    Row,
    TraceView,
    row_of,
    step_colours,
    visible,
)
from ordo.samplers import Trace

STOPS = 24  # of the colour scale; between stops the scale is linear


def trace_page(
    trace: Trace, symbols: Sequence[Sequence[str]], view: TraceView | None = None
) -> str:
    """The page, HTML, which shows after every step which tokens stand where.

    There is a slider, a play button, and arrow keys. A token has the colour of the step that
    revealed it, the paler the less probable the token was. The pointer shows a token's rank, step
    and probability. A strip below shows the order of the positions.

    Args:
        trace: of one or several rows. Where tokens were masked again the trace needs its history:
            ``sample(..., history=True)``.
        symbols: for every row to show, the string of every token. Positions of the trace beyond
            the strings of a row are absent.
        view: title, layout and the rest.

    Raises ValueError for arguments that do not fit the trace or one another.
    """
    return _render("trace.html.j2", trace, symbols, view or TraceView())


def trace_fragment(
    trace: Trace, symbols: Sequence[Sequence[str]], view: TraceView | None = None
) -> str:
    """The page of ``trace_page`` as a <section>, for the body of another page, also several times.

    The section has styles and a script of its own, no ids, and no effect on the page around it.
    """
    return _render("trace_fragment.html.j2", trace, symbols, view or TraceView())


def _render(template: str, trace: Trace, symbols: Sequence[Sequence[str]], view: TraceView) -> str:
    if not symbols:
        raise ValueError("symbols must be of at least one row")
    rows = [row_of(trace, i, own, view.revised) for i, own in enumerate(symbols)]
    for row in rows:
        view.layout.check(len(row.given))
    if view.labels is not None and len(view.labels) != len(rows):
        raise ValueError(f"labels must name {len(rows)} rows, got {len(view.labels)}")
    colours = np.round(255 * step_colours(STOPS)).astype(int).tolist()
    data = page_data(rows, view.layout, colours)
    environment = Environment(
        loader=PackageLoader("ordo.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(
        title=view.title or "Generation trace",
        sampler=view.sampler,
        seed=view.seed,
        note=view.note,
        kind=view.layout.kind,
        words=dict(zip(("position", "token"), LAYOUTS[view.layout.kind], strict=True)),
        labels=view.labels or [f"{i + 1} of {len(rows)}" for i in range(len(rows))],
        colours=colours,
        middle=colours[STOPS // 3],
        least=LEAST_OPACITY,
        any_given=any(symbol is not None for row in rows for symbol in row.given),
        any_revised=any(event.symbol is None for row in rows for event in row.events),
        data=htmlsafe_json_dumps(data, separators=(",", ":"), allow_nan=False),
    )


def page_data(rows: list[Row], layout: Layout, colours: list[list[int]]) -> dict[str, object]:
    """What the page's script reads.

    Strings are listed once, and elsewhere stands the number of a string. The events of a row are
    three lists, and "sizes" says how many events each step has.
    """
    numbers: dict[str, int] = {}

    def number(symbol: str | None) -> int:
        return -1 if symbol is None else numbers.setdefault(symbol, len(numbers))

    def nats(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None  # JSON has no -inf

    described = []
    for row in rows:
        steps = [event.step for event in row.events]
        described.append(
            {
                "given": [number(symbol) for symbol in row.given],
                "sizes": np.bincount(steps, minlength=row.steps).tolist() if row.steps else [],
                "position": [event.position for event in row.events],
                "symbol": [number(event.symbol) for event in row.events],
                "log_prob": [nats(event.log_prob) for event in row.events],
                "remasked": row.remasked if any(row.remasked) else [],
                "calls": row.calls,
                "total": nats(row.log_prob),
            }
        )
    texts = {i: visible(symbol, layout.kind != "table") for symbol, i in numbers.items()}
    return {
        "kind": layout.kind,
        "words": LAYOUTS[layout.kind],
        "names": None if layout.names is None else list(layout.names),
        "columns": layout.columns,
        "box": layout.box,
        "colours": colours,
        "least": LEAST_OPACITY,
        "symbols": list(numbers),
        "shown": {i: texts[i] for symbol, i in numbers.items() if texts[i] != symbol},
        "rows": described,
    }
