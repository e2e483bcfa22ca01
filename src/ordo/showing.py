"""Small tables of what an object holds, for a prompt and for a notebook."""

from __future__ import annotations

import html
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

WIDEST = 30  # characters of a row of numbers
SAME = 1e-6  # mean ranks that differ by less are equal but for rounding
ENDS = 4  # positions that are shown from either end of an order


@dataclass(frozen=True)
class Small:
    """A title, and a table of at most a dozen lines.

    Args:
        columns: headings; none for a table of names and values.
        rows: as many cells each as there are columns.
    """

    title: str
    rows: Sequence[Sequence[str]]
    columns: Sequence[str] = ()

    def text(self) -> str:
        """Cells in columns that are as wide as their widest cell."""
        lines = [list(self.columns)] if self.columns else []
        lines += [list(row) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cells = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )
        return "\n".join([self.title, *(f"  {line.rstrip()}" for line in cells)])

    def html(self) -> str:
        """A table of HTML; text of the user's data is escaped."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        rows = [f"<tr>{head}</tr>"] if head else []
        for row in self.rows:
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            rows.append(f"<tr>{cells}</tr>")
        return f"<table><caption>{html.escape(self.title)}</caption>{''.join(rows)}</table>"


class Shown:
    """Base of objects that are shown as a small table."""

    @abstractmethod
    def small(self) -> Small:
        """What is shown."""

    def __repr__(self) -> str:
        return self.small().text()

    def _repr_html_(self) -> str:
        return self.small().html()


def numbers(values: Sequence[int]) -> str:
    """The first numbers with spaces between them; a dash for -1, dots for what is left out."""
    text = " ".join("-" if value == -1 else str(value) for value in values[:WIDEST])
    if len(text) <= WIDEST and len(values) <= WIDEST:
        return text
    return f"{text[: WIDEST - 1].rpartition(' ')[0]} …"


def ends(rank: Tensor, labels: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Which positions are decoded first and last, by mean rank.

    Args:
        rank: mean rank of every position, (length,), from 1.
        labels: names of the positions; None: their numbers from 0.
    """
    by_rank = rank.argsort(stable=True).tolist()
    if len(rank) > 1 and float(rank.max() - rank.min()) < SAME:
        return [("positions", "all have the same mean rank")]
    names = [str(i) for i in range(len(by_rank))] if labels is None else labels
    told = [f"{names[i]} ({float(rank[i]):.1f})" for i in by_rank]
    if len(told) <= 2 * ENDS:
        return [("positions, first to last (mean rank)", ", ".join(told))]
    return [
        ("first positions (mean rank)", ", ".join(told[:ENDS])),
        ("last positions (mean rank)", ", ".join(told[-ENDS:])),
    ]


def law(
    title: str,
    length: int,
    learned: bool,
    rank: Tensor | None,
    labels: Sequence[str] | None = None,
) -> Small:
    """A law over orders of decoding.

    Args:
        learned: the law's numbers want a gradient.
        rank: mean rank of every position, (length,), from 1; None: laws of several sequences.
        labels: names of the positions; None: their numbers from 0.
    """
    rows = [("length", str(length)), ("learned", "yes" if learned else "no")]
    rows += (
        [("positions", "differ between sequences")] if rank is None else ends(rank.detach(), labels)
    )
    return Small(title, rows)
