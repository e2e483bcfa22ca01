"""A page of sections with text, tables, pictures and samples: one HTML file that needs no other."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

import numpy as np
from jinja2 import Environment
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ordo.plots.figure import DPI


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        rows: as many cells each as there are columns.
        note: a line below the table.
        name: of the table's files beside the page, without suffix; empty: there are none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    name: str = ""


@dataclass(frozen=True)
class Terms:
    """Words, each with what it means."""

    terms: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """A figure.

    Args:
        name: of the picture's file, without suffix.
        caption: what the figure shows and how to read it.
        wide: the figure takes the width of the page, with no other picture beside.
    """

    name: str
    figure: Figure
    caption: str
    wide: bool = False

    @cached_property
    def png(self) -> bytes:
        """PNG with at most 256 colours: a third of the size, with no difference to the eye."""
        self.figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()  # once, where ``savefig`` draws a figure twice
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        few = {"method": Image.Quantize.FASTOCTREE, "dither": Image.Dither.NONE}
        small = io.BytesIO()
        image.quantize(256, **few).save(small, "PNG", optimize=True, dpi=(DPI, DPI))
        return small.getvalue()


@dataclass(frozen=True)
class Lines:
    """Samples or other text that keeps its spaces and line ends, a box each."""

    lines: Sequence[str]
    note: str = ""


@dataclass(frozen=True)
class Board:
    """A board of single characters, line by line.

    Args:
        given, repeated, wrong: numbers of the cells that are clues, that break a rule, and that
            differ from the solution.
        caption: what the board is.
    """

    cells: str
    given: frozenset[int] = frozenset()
    repeated: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True)
class Boards:
    """Groups of boards that stand side by side.

    Args:
        columns: cells of a line.
        box: side of the boxes that have a stronger line around them.
        note: a line below the boards.
    """

    groups: Sequence[Sequence[Board]]
    columns: int
    box: int
    note: str = ""


@dataclass(frozen=True)
class Beside:
    """Blocks under headings of their own, side by side where the screen is wide enough."""

    columns: Mapping[str, Lines]


@dataclass(frozen=True)
class Folded:
    """Long text that is shown when asked for."""

    title: str
    text: str


@dataclass(frozen=True)
class Markup:
    """HTML that is trusted, such as that of ``ordo.plots.trace_fragment``."""

    html: str


@dataclass(frozen=True)
class Link:
    """To another file of the run."""

    text: str
    to: str


Block = Text | Grid | Terms | Picture | Lines | Boards | Beside | Folded | Markup | Link
Saved = Picture | Grid  # blocks that are files of their own too, beside the page


@dataclass
class Section:
    """A heading, which the list at the top has too, and what stands below the heading."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def saved(sections: Sequence[Section]) -> list[Saved]:
    """The pictures, and the tables that have a name."""
    blocks = [block for section in sections for block in section.blocks]
    return [b for b in blocks if isinstance(b, Picture) or (isinstance(b, Grid) and b.name)]


def _for_template(block: Block) -> dict[str, object]:
    """The block as the template takes it."""
    values = {"kind": type(block).__name__, **vars(block)}
    if isinstance(block, Picture):
        values["data"] = base64.b64encode(block.png).decode("ascii")
    return values


def render(title: str, subtitle: str, summary: Sequence[str], sections: Sequence[Section]) -> str:
    """The page. summary: sentences at the top. Sections without blocks are left out."""
    text = files("ordo.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    parts = [
        {"title": s.title, "anchor": s.anchor, "blocks": [_for_template(b) for b in s.blocks]}
        for s in sections
        if s.blocks
    ]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return template.render(title=title, subtitle=subtitle, summary=list(summary), sections=parts)
