"""What the pages and films of a trace share: its rows as events with strings, how symbols are shown, and the colours of steps."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps

from ordo.samplers import Trace

LAYOUTS = ("text", "table", "board")
LEAST_OPACITY = 0.4  # of a token of probability 0
Revised = Callable[[int, int], str]


@dataclass(frozen=True)
class Layout:
    """How positions lie. kind: "text", one after the other; "table", a value for each of ``names``; "board", lines of ``columns`` cells,
    and around every ``box`` x ``box`` of them a stronger line. Raises ValueError for what does not go together.
    """

    kind: str = "text"
    names: Sequence[str] | None = None
    columns: int | None = None
    box: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in LAYOUTS:
            raise ValueError(f"layout={self.kind!r}: choose {', '.join(LAYOUTS)}")
        if (self.kind == "table") != (self.names is not None):
            raise ValueError("names, one for each column, go with layout='table'")
        if (self.kind == "board") != (self.columns is not None) or (
            self.columns is not None and self.columns < 1
        ):
            raise ValueError(
                f"columns, the cells of a line, go with layout='board', got {self.columns}"
            )
        if self.box is not None and (self.columns is None or self.box < 1):
            raise ValueError("box, the cells of a box's side, goes with layout='board'")

    def check(self, length: int) -> None:
        """Raises ValueError where so many positions do not fit."""
        if self.names is not None and len(self.names) != length:
            raise ValueError(f"names must name {length} columns, got {len(self.names)}")
        if self.columns is not None and length % self.columns:
            raise ValueError(f"{length} positions do not make lines of {self.columns}")


@dataclass(frozen=True)
class Event:
    """At ``step``, from 0, ``position`` got ``symbol`` with log-probability ``log_prob`` (nats), or was masked again (symbol None)."""

    step: int
    position: int
    symbol: str | None
    log_prob: float


@dataclass(frozen=True)
class Row:
    """One sequence. given (present positions,): its symbol, or None where it is decoded. events: as they happened; a token that was drawn
    and thrown away within one step is none. remasked: times every position was masked again, such tokens counted. steps: how many.
    """

    given: list[str | None]
    events: list[Event]
    remasked: list[int]
    steps: int
    calls: int
    log_prob: float

    def after(self, steps: int) -> list[Event | None]:
        """What stands at every position after so many steps; None where masked or given."""
        stands: list[Event | None] = [None] * len(self.given)
        for event in self.events:
            if event.step >= steps:
                break
            stands[event.position] = event if event.symbol is not None else None
        return stands


def row_of(trace: Trace, i: int, symbols: Sequence[str], revised: Revised | None = None) -> Row:
    """Row i of a trace.

    symbols: the string of every token; where they are fewer than the trace has positions, the others are absent. revised: (position, token)
    -> string of a token that was masked again later; needed where the history has such.

    Raises ValueError for a row that the trace has not, symbols that do not fit it, masked-again tokens without a history, and no
    ``revised`` where it is needed.
    """
    n, length = trace.tokens.shape
    present = len(symbols)
    if not 0 <= i < n:
        raise ValueError(f"the trace has {n} rows, not row {i}")
    step, remasked = trace.step[i].tolist(), trace.remasked[i].tolist()
    if not 1 <= present <= length:
        raise ValueError(f"row {i} has {present} symbols, the trace {length} positions")
    if any(s >= 0 for s in step[present:]):
        raise ValueError(f"row {i} has {present} symbols, but later positions were decoded")
    if not any(remasked):
        log_prob = trace.log_prob[i].tolist()
        decoded: list[int] = [p for p in trace.order[i].tolist() if step[p] >= 0]
        events = [Event(step[p], p, symbols[p], log_prob[p]) for p in decoded]
    elif trace.history is None:
        raise ValueError(f"row {i} has tokens that were masked again: sample with history=True")
    else:
        mine = trace.history.of_row(i)
        if not mine.step.numel():
            raise ValueError(f"the history has nothing of row {i}: keep more rows")
        columns = (
            mine.step.tolist(),
            mine.position.tolist(),
            mine.token.tolist(),
            mine.log_prob.tolist(),
        )
        events = _events(list(zip(*columns, strict=True)), symbols, revised)
    given = [symbol if s < 0 else None for symbol, s in zip(symbols, step, strict=False)]
    return Row(
        given,
        events,
        remasked[:present],
        max(step) + 1,
        int(trace.calls[i]),
        float(trace.total_log_prob[i]),
    )


def _events(
    history: list[tuple[int, int, int, float]], symbols: Sequence[str], revised: Revised | None
) -> list[Event]:
    last: dict[int, int] = {}  # position -> its latest event's place in the history
    thrown: set[int] = set()
    kept: set[int] = set()  # reveals that stand in the end
    for k, (step, position, token, _) in enumerate(history):
        before = last.get(position)
        if before is not None:
            kept.discard(before)
            if token < 0 and history[before][0] == step:
                thrown |= {before, k}
        if token >= 0:
            kept.add(k)
        last[position] = k
    events = []
    for k, (step, position, token, log_prob) in enumerate(history):
        if k in thrown:
            continue
        symbol = None
        if token >= 0:
            if k not in kept and revised is None:
                raise ValueError(
                    "tokens were masked again: say what they were, revised(position, token)"
                )
            symbol = symbols[position] if k in kept or revised is None else revised(position, token)
        events.append(Event(step, position, symbol, log_prob))
    return events


def visible(symbol: str, spaces: bool = True) -> str:
    """The symbol as it is shown: nothing as ∅, line end, tab, invisible and control characters by signs, a lone accent on a dotted circle.

    spaces: every space as ␣, else those at the ends only.
    """
    if not symbol:
        return "∅"
    ends = len(symbol) - len(symbol.lstrip(" ")), len(symbol.rstrip(" "))
    shown = []
    for i, c in enumerate(symbol):
        category = unicodedata.category(c)
        if c == " ":
            shown.append("␣" if spaces or i < ends[0] or i >= ends[1] else " ")
        elif c in "\n\t":
            shown.append("↵" if c == "\n" else "⇥")
        elif category[0] == "C" or category in ("Zl", "Zp", "Zs"):
            shown.append(f"⟨{ord(c):02X}⟩")
        else:
            shown.append(f"◌{c}" if i == 0 and unicodedata.combining(c) else c)
    return "".join(shown)


def step_colours(n: int) -> np.ndarray:
    """(n, 3) in 0..1: viridis from the first of n steps to the last, without its darkest end, which a dark page would swallow."""
    return colormaps["viridis"](np.linspace(0.15, 1, n) if n > 1 else [0.5])[:, :3]


def opacity(log_prob: float) -> float:
    """Of the colour of a token: linear in its probability, from LEAST_OPACITY to 1."""
    return LEAST_OPACITY + (1 - LEAST_OPACITY) * min(1.0, math.exp(log_prob))
