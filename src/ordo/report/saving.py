"""A page as files: the page, its pictures, and its tables as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ordo import plots
from ordo.files import write_whole
from ordo.report.page import Grid, Saved

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$",
}  # fmt: skip
AND_ERROR = " ± "


def csv_text(grid: Grid) -> str:
    """The table with a line of headings. A column of ``mean ± error`` becomes two, for programs."""
    columns: list[list[str]] = []
    for i, name in enumerate(grid.columns):
        cells = [row[i].split(AND_ERROR) for row in grid.rows]
        columns.append([name, *(cell[0] for cell in cells)])
        if any(len(cell) == 2 for cell in cells):
            errors = ["" if len(cell) == 1 else cell[1] for cell in cells]
            columns.append([f"{name}, standard error", *errors])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def latex_text(grid: Grid) -> str:
    """A ``tabular`` that needs no package, whose columns but the first are flush right."""
    lines = [[latex(cell) for cell in row] for row in (grid.columns, *grid.rows)]
    heading, *rows = [" & ".join(cells) + r" \\" for cells in lines]
    begin = r"\begin{tabular}{l" + "r" * (len(grid.columns) - 1) + "}"
    parts = [begin, r"\hline", heading, r"\hline", *rows, r"\hline", r"\end{tabular}"]
    return "\n".join(parts) + "\n"


def latex(text: str) -> str:
    """The text as LaTeX shows it."""
    return "".join(ESCAPES.get(character, character) for character in text)


def save_page(
    page: str,
    parts: Sequence[Saved],
    folder: Path,
    name: str = "report.html",
    formats: Sequence[str] = ("png",),
) -> None:
    """The page as a file; its pictures in ``pictures/``, its tables in ``tables/``.

    Every picture is written in each of the formats, png, svg or pdf. Every table is written as CSV
    and as LaTeX.
    """

    def write(path: Path, text: str) -> None:
        write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    for part in parts:
        if isinstance(part, Grid):
            write(folder / "tables" / f"{part.name}.csv", csv_text(part))
            write(folder / "tables" / f"{part.name}.tex", latex_text(part))
            continue
        for kind in formats:
            path = folder / "pictures" / f"{part.name}.{kind}"
            if kind == "png":
                write_whole(path, lambda partial, png=part.png: partial.write_bytes(png))
            else:
                plots.save(part.figure, path)
    write(folder / name, page)
