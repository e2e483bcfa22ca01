"""A page of sections with text, tables, pictures and samples, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

from jinja2 import Environment
from matplotlib.figure import Figure
from PIL import Image

from ordo.plots.figure import DPI


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table. rows: as many cells each as there are columns. note: a line below it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Terms:
    """Words, each with what it means."""

    terms: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """name: of its file, without suffix. caption: what it shows and how to read it. wide: over the whole page, beside no other."""

    name: str
    figure: Figure
    caption: str
    wide: bool = False

    @cached_property
    def png(self) -> bytes:
        """Of at most 256 colours: a third of the full one's size with no difference to the eye."""
        raw, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(raw, format="png", dpi=DPI)
        with Image.open(raw) as image:
            few = image.convert("RGB").quantize(
                256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
            )
            few.save(small, "PNG", optimize=True, dpi=(DPI, DPI))
        return small.getvalue()


@dataclass(frozen=True)
class Lines:
    """Samples or other text that keeps its spaces and line ends, a box each."""

    lines: Sequence[str]
    note: str = ""


@dataclass(frozen=True)
class Folded:
    """Long text that is shown when asked for."""

    title: str
    text: str


@dataclass(frozen=True)
class Markup:
    """HTML that is trusted, such as of ``ordo.plots.trace_fragment``."""

    html: str


@dataclass(frozen=True)
class Link:
    """To another file of the run."""

    text: str
    to: str


Block = Text | Grid | Terms | Picture | Lines | Folded | Markup | Link


@dataclass
class Section:
    """A heading, for the list at the top too, and what stands below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def _shown(block: Block) -> dict[str, object]:
    """The block as the template takes it."""
    if isinstance(block, Picture):
        return {
            "kind": "Picture",
            "caption": block.caption,
            "wide": block.wide,
            "data": base64.b64encode(block.png).decode("ascii"),
        }
    return {"kind": type(block).__name__, **vars(block)}


def render(title: str, subtitle: str, summary: Sequence[str], sections: Sequence[Section]) -> str:
    """The page. summary: sentences at the top. Sections without blocks are left out."""
    template = files("ordo.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    shown = [
        {"title": s.title, "anchor": s.anchor, "blocks": [_shown(b) for b in s.blocks]}
        for s in sections
        if s.blocks
    ]
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template).render(
        title=title, subtitle=subtitle, summary=list(summary), sections=shown
    )  # fmt: skip
