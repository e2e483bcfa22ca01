"""How one sequence was decoded, step by step, as a film (GIF)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ordo.files import write_whole
from ordo.plots.trace_rows import (
    LEAST_OPACITY,
    Event,
    Layout,
    Row,
    TraceView,
    opacity,
    row_of,
    step_colours,
    visible,
)
from ordo.samplers import Trace

PAPER, INK = (255, 255, 255), (27, 29, 33)
QUIET, LINE, ACCENT = (98, 103, 111), (201, 205, 211), (194, 65, 12)
MARGIN, WIDE = 16, 600  # pixels; in a narrower film the legend has two lines
# Colours of steps, and degrees of each colour by probability: a GIF has 256 colours in all.
SCALE, DEGREES = 24, 8
MOST_FRAMES = 60
SECONDS = 8.0  # up to the last frame, which stays for three seconds more
Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]


def blend(colour: np.ndarray, part: float) -> Colour:
    """A colour in 0..1 on the page, ``part`` of it opaque, as 0..255."""
    r, g, b = (round(255 * float(1 + (c - 1) * part)) for c in colour)
    return r, g, b


FILLS = [
    [blend(c, LEAST_OPACITY + (1 - LEAST_OPACITY) * i / (DEGREES - 1)) for i in range(DEGREES)]
    for c in step_colours(SCALE)
]
COLOURS = (
    [fill for fills in FILLS for fill in fills]
    + [PAPER, INK, QUIET, LINE, ACCENT]
    + [(v, v, v) for v in range(0, 256, 17)]
)


def save_trace_gif(
    trace: Trace,
    symbols: Sequence[str],
    path: str | Path,
    view: TraceView | None = None,
    *,
    row: int = 0,
    width: int = 720,
) -> None:
    """Writes the film of one row, whole or not at all; makes the folder.

    Colours and signs are those of ``trace_page``. The first frame has the given tokens only. At
    most 60 evenly spaced steps are shown, each for .05 to .5 seconds, the last for 3 seconds. The
    font, DejaVu, has no East Asian characters.

    Args:
        symbols: the string of every token of the row, see ``trace_page``.
        view: title, layout, and ``revised``; a film does not show the rest.
        width: pixels, at least 400.

    Raises ValueError for arguments that do not fit the trace or one another.
    """
    if width < 400:
        raise ValueError(f"width must be at least 400, got {width}")
    view = view or TraceView()
    one = row_of(trace, row, symbols, view.revised)
    scene = make_scene(one, symbols, view.layout, view.title or "", width)
    spaced = np.linspace(0, one.steps, min(MOST_FRAMES, one.steps + 1))
    steps = np.unique(spaced.round().astype(int)).tolist()
    duration = int(1000 * min(0.5, max(0.05, SECONDS / len(steps))))
    # One palette for all frames: else colours would change from frame to frame.
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in COLOURS for part in colour])
    first, *rest = [
        scene.frame(step).quantize(palette=palette, dither=Image.Dither.NONE) for step in steps
    ]
    film = io.BytesIO()
    durations = [duration] * len(rest) + [3000]
    first.save(
        film, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False
    )
    write_whole(Path(path), lambda partial: partial.write_bytes(film.getvalue()))


@cache
def font(size: int, name: str = "DejaVuSansMono") -> ImageFont.FreeTypeFont:
    """One of the fonts that matplotlib brings along."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    return ImageFont.truetype(str(path), size)


def cut(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or as much of it as is not wider than ``width`` pixels, and an ellipsis."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@dataclass
class Scene:
    """One row, laid out.

    Args:
        boxes: of every position's token, in pixels, ends included.
        face: the font of the tokens.
        top: where the strip of positions begins.
    """

    row: Row
    layout: Layout
    title: str
    width: int
    boxes: list[Box]
    face: ImageFont.FreeTypeFont
    top: int

    def scale(self, step: int) -> int:
        """A step's place among the SCALE colours."""
        last = self.row.steps - 1
        return round((SCALE - 1) * step / last) if last > 0 else SCALE // 2

    def colour(self, step: int) -> Colour:
        return FILLS[self.scale(step)][-1]

    def fill(self, event: Event) -> Colour:
        """Colour of a token: that of its step, the paler the less probable the token was."""
        part = (opacity(event.log_prob) - LEAST_OPACITY) / (1 - LEAST_OPACITY)
        return FILLS[self.scale(event.step)][round((DEGREES - 1) * part)]

    def frame(self, step: int) -> Image.Image:
        """The picture after ``step`` steps."""
        height = self.top + (118 if self.width >= WIDE else 140)
        image = Image.new("RGB", (self.width, height), PAPER)
        pen = ImageDraw.Draw(image)
        state = self.row.after(step)
        count = f"{sum(e is not None for e in state)} of {self.row.given.count(None)}"
        decoded = f"step {step} of {self.row.steps}: {count} decoded"
        small, bold = font(13, "DejaVuSans"), font(16, "DejaVuSans-Bold")
        if self.title:
            pen.text((MARGIN, 12), cut(self.title, bold, self.width - 2 * MARGIN), INK, bold)
        pen.text((MARGIN, 38 if self.title else 12), decoded, QUIET, small)
        self._frame_of_board(pen)
        for p, (event, box) in enumerate(zip(state, self.boxes, strict=True)):
            self._token(pen, p, event, box, new=event is not None and event.step == step - 1)
        self._strip(pen, state)
        self._legend(pen, small)
        return image

    def _token(
        self, pen: ImageDraw.ImageDraw, p: int, event: Event | None, box: Box, new: bool
    ) -> None:
        given = self.row.given[p]
        symbol = given if given is not None else event.symbol if event is not None else None
        text, room = "·", box[2] - box[0] - 1
        if symbol is not None:
            text = cut(visible(symbol, self.layout.kind != "table"), self.face, room)
        ink = INK if given is not None else QUIET
        if event is not None:
            fill = self.fill(event)
            light = [c / 3294 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in fill]
            ink = (0, 0, 0) if np.dot((0.2126, 0.7152, 0.0722), light) > 0.179 else (255, 255, 255)
            pen.rectangle(box, fill, ACCENT if new else None, 2)
        elif given is not None:
            pen.rectangle(box, PAPER, QUIET, 1)
        else:
            pen.line((box[0], box[3], box[2], box[3]), LINE)
        left = self.layout.kind == "table"
        x = box[0] + 5 if left else (box[0] + box[2] + 1) / 2
        face = self.face if given is None else font(int(self.face.size), "DejaVuSansMono-Bold")
        pen.text((x, (box[1] + box[3] + 1) / 2), text, ink, face, anchor="lm" if left else "mm")

    def _frame_of_board(self, pen: ImageDraw.ImageDraw) -> None:
        names, columns = self.layout.names, self.layout.columns
        if names is not None:
            small = font(12, "DejaVuSans")
            for name, box in zip(names, self.boxes, strict=True):
                text = cut(visible(name, spaces=False), small, box[2] - box[0])
                pen.text((box[0], box[1] - 17), text, QUIET, small)
        if columns is not None:
            lines, side = len(self.boxes) // columns, self.boxes[0][2] - self.boxes[0][0] + 5
            left, top = self.boxes[0][0] - 2, self.boxes[0][1] - 2
            for many, across in ((columns, True), (lines, False)):
                box = self.layout.box or many  # a stronger line around every box and the board
                for i in range(many + 1):
                    heavy = i == many or i % box == 0
                    at = (left if across else top) + i * side
                    down, right = top + lines * side, left + columns * side
                    ends = (at, top, at, down) if across else (left, at, right, at)
                    pen.line(ends, INK if heavy else LINE, 3 if heavy else 1)

    def _strip(self, pen: ImageDraw.ImageDraw, state: list[Event | None]) -> None:
        """A column for each position: its colour below, its rank as a mark above, first on top."""
        n, top, foot = len(state), self.top, self.top + 64
        ranked = [id(event) for event in self.row.events if event.symbol is not None]
        turn = {event: i for i, event in enumerate(ranked)}
        standing = sorted((e for e in state if e is not None), key=lambda e: turn[id(e)])
        most = max(1, self.row.given.count(None) - 1)
        edges = np.linspace(MARGIN, self.width - MARGIN, n + 1)
        rank = {id(event): i for i, event in enumerate(standing)}
        for p, event in enumerate(state):
            x, right = int(edges[p]), max(int(edges[p]), int(edges[p + 1]) - (1 if n > 150 else 2))
            if event is None:
                high, low = (0, 15) if self.row.given[p] is not None else (7, 8)
                pen.rectangle((x, foot + high, right, foot + low), LINE)
                continue
            colour = self.colour(event.step)
            y = top + round(52 * rank[id(event)] / most)
            pen.rectangle((x, y, max(right, x + 1), y + 3), colour)
            pen.rectangle((x, foot, right, foot + 15), colour)

    def _legend(self, pen: ImageDraw.ImageDraw, small: ImageFont.FreeTypeFont) -> None:
        y, x = self.top + 100, float(MARGIN)
        steps = [self.colour(round(i / 15 * (self.row.steps - 1))) for i in range(16)]
        pale = [FILLS[SCALE // 3][i // 2] for i in range(2 * DEGREES)]
        scales = (("step 1", steps, f"{self.row.steps}"), ("probability 0", pale, "1"))
        for before, scale, after in scales:
            pen.text((x, y), before, QUIET, small, anchor="lm")
            x += small.getlength(before) + 6
            for i, colour in enumerate(scale):
                pen.rectangle((int(x) + 4 * i, y - 6, int(x) + 4 * i + 3, y + 6), colour)
            x += 70
            pen.text((x, y), after, QUIET, small, anchor="lm")
            x += small.getlength(after) + 22
        marks = [("this step", ACCENT, 2)]
        if any(given is not None for given in self.row.given):
            marks.append(("given", QUIET, 1))
        if self.width < WIDE:
            x, y = float(MARGIN), y + 22
        for text, colour, thick in marks:
            pen.rectangle((int(x), y - 7, int(x) + 12, y + 7), PAPER, colour, thick)
            pen.text((x + 19, y), text, QUIET, small, anchor="lm")
            x += 19 + small.getlength(text) + 18


def make_scene(row: Row, symbols: Sequence[str], layout: Layout, title: str, width: int) -> Scene:
    """Where everything stands. Raises ValueError where the layout does not fit."""
    n = len(row.given)
    layout.check(n)
    top, inner = (66 if title else 40), width - 2 * MARGIN
    boxes: list[Box] = []
    if layout.names is not None:
        face = font(14)
        across = max(1, inner // 165)
        step = inner / across
        for p in range(n):
            x, y = int(MARGIN + step * (p % across)), top + 18 + 50 * (p // across)
            boxes.append((x, y, int(x + step - 10), y + 25))
    elif layout.columns is not None:
        side = max(9, min(56, (inner - 2) // layout.columns))
        face = font(max(8, side // 2))
        for p in range(n):
            x, y = MARGIN + side * (p % layout.columns) + 3, top + side * (p // layout.columns) + 3
            boxes.append((x, y, x + side - 5, y + side - 5))
    else:
        face = font(16 if n <= 400 else 13)
        high = face.size + 7
        x, y = MARGIN, top
        for symbol in symbols:
            wide = min(inner, int(face.getlength(visible(symbol))) + 3)
            if x > MARGIN and x + wide > width - MARGIN:
                x, y = MARGIN, y + int(high) + 3
            boxes.append((x, y, x + wide - 1, y + int(high) - 1))
            x += wide + 1
            if "\n" in symbol:
                x, y = MARGIN, y + int(high) + 3
    return Scene(row, layout, title, width, boxes, face, max(box[3] for box in boxes) + 20)
