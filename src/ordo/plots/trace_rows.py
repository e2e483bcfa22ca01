"""What pages and films of a trace share: rows as events, how symbols look, colours of steps."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib import colormaps

from ordo.plots.order import EARLIEST
from ordo.samplers import Trace

# What a position and a token are called, by how positions lie.
LAYOUTS = {"text": ("position", "token"), "table": ("column", "cell"), "board": ("cell", "cell")}
LEAST_OPACITY = 0.4  # for a token of probability 0
Revised = Callable[[int, int], str]


@dataclass(frozen=True)
class Layout:
    """How the positions of a sequence lie. Raises ValueError for what does not go together.

    Args:
        kind: "text", one position after the other; "table", a value for each of ``names``; or
            "board", lines of ``columns`` cells.
        box: of a board, the side of the boxes that have a stronger line around them (3 for a
            Sudoku); None: there are no boxes.
    """

    kind: str = "text"
    names: Sequence[str] | None = None
    columns: int | None = None
    box: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in LAYOUTS:
            raise ValueError(f"kind={self.kind!r}: choose {', '.join(LAYOUTS)}")
        if (self.kind == "table") != (self.names is not None):
            raise ValueError("names, one for each column, go with kind='table'")
        columns = self.columns
        if (self.kind == "board") != (columns is not None) or (columns is not None and columns < 1):
            raise ValueError(f"columns, the cells of a line, go with kind='board', got {columns}")
        if self.box is not None and (self.columns is None or self.box < 1):
            raise ValueError("box, the cells of a box's side, goes with kind='board'")

    def check(self, length: int) -> None:
        """Raises ValueError where so many positions do not fit."""
        if self.names is not None and len(self.names) != length:
            raise ValueError(f"names must name {length} columns, got {len(self.names)}")
        if self.columns is not None and length % self.columns:
            raise ValueError(f"{length} positions do not make lines of {self.columns}")


@dataclass(frozen=True)
class TraceView:
    """How a trace is shown, on a page or in a film.

    Args:
        title: None: a page says "Generation trace", a film nothing.
        sampler, seed, note: for the head of a page.
        labels: names of the rows of a page; None: their numbers from 1.
        layout: how positions lie.
        revised: from (position, token) to the string of a token that was masked again later;
            needed only where there are such tokens.
    """

    title: str | None = None
    sampler: str | None = None
    seed: int | None = None
    note: str | None = None
    labels: Sequence[str] | None = None
    layout: Layout = field(default_factory=Layout)
    revised: Revised | None = None


@dataclass(frozen=True)
class Event:
    """At ``step``, from 0, ``position`` got ``symbol``, or was masked again (symbol None).

    log_prob: log-probability of the symbol, nats.
    """

    step: int
    position: int
    symbol: str | None
    log_prob: float


@dataclass(frozen=True)
class Row:
    """One sequence.

    Args:
        given: for every present position its symbol, or None where the position is decoded.
        events: as they happened. A token that was drawn and thrown away within one step is none.
        remasked: how often each position was masked again, with tokens thrown away in one step.
        steps: how many there were.
    """

    given: list[str | None]
    events: list[Event]
    remasked: list[int]
    steps: int
    calls: int
    log_prob: float

    def after(self, steps: int) -> list[Event | None]:
        """What stands at every position after ``steps`` steps; None where masked or given."""
        stands: list[Event | None] = [None] * len(self.given)
        for event in self.events:
            if event.step >= steps:
                break
            stands[event.position] = event if event.symbol is not None else None
        return stands


def row_of(trace: Trace, i: int, symbols: Sequence[str], revised: Revised | None = None) -> Row:
    """Row i of a trace.

    Args:
        symbols: the string of every token. Positions of the trace beyond these are absent.
        revised: see ``TraceView``.

    Raises ValueError for a row that the trace does not have, symbols that do not fit the row,
    tokens that were masked again without a history, and no ``revised`` where it is needed.
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
        columns = (mine.step, mine.position, mine.token, mine.log_prob)
        history = list(zip(*(column.tolist() for column in columns), strict=True))
        events = _events(history, symbols, revised)
    given = [symbol if s < 0 else None for symbol, s in zip(symbols, step, strict=False)]
    calls, log_prob = int(trace.calls[i]), float(trace.total_log_prob[i])
    return Row(given, events, remasked[:present], max(step) + 1, calls, log_prob)


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
    """The symbol as it is shown.

    An empty symbol is shown as ∅; a line end, a tab, invisible and control characters have signs;
    a lone accent stands on a dotted circle.

    Args:
        spaces: show every space as ␣; False: only spaces at the ends.
    """
    if not symbol:
        return "∅"
    ends = len(symbol) - len(symbol.lstrip(" ")), len(symbol.rstrip(" "))
    out = []
    for i, c in enumerate(symbol):
        category = unicodedata.category(c)
        if c == " ":
            out.append("␣" if spaces or i < ends[0] or i >= ends[1] else " ")
        elif c in "\n\t":
            out.append("↵" if c == "\n" else "⇥")
        elif category[0] == "C" or category in ("Zl", "Zp", "Zs"):
            out.append(f"⟨{ord(c):02X}⟩")
        else:
            out.append(f"◌{c}" if i == 0 and unicodedata.combining(c) else c)
    return "".join(out)


def step_colours(n: int) -> np.ndarray:
    """Colours of n steps, shape (n, 3), from 0 to 1, as those of ranks in ``ordo.plots.order``."""
    return colormaps["viridis"](np.linspace(EARLIEST, 1, n) if n > 1 else [0.5])[:, :3]


def opacity(log_prob: float) -> float:
    """Opacity of a token's colour: linear in the token's probability, from LEAST_OPACITY to 1."""
    return LEAST_OPACITY + (1 - LEAST_OPACITY) * min(1.0, math.exp(log_prob))
