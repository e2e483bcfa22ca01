"""Samples of a model beside real sequences, as a page shows them: lines, a table, or boards."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.files import Json
from ordo.metrics.sudoku import repeated_cells, violated_units
from ordo.report.page import Beside, Block, Board, Boards, Grid, Lines, Text
from ordo.report.words import words_of

SPLITS = {"val": "validation", "test": "test"}
FROM_MODEL = "From the model"
DIGITS = "123456789"


def shown_samples(report: Json, most: int | None = None, real: bool = True) -> list[Block]:
    """The first samples of a report, beside as many real sequences where the report has them.

    Args:
        most: as many at most; None: all that the report shows.
        real: False: no real sequences; boards have their solutions in any case.
    """
    lines, rows = (report.get(key) or [] for key in ("samples", "sample_rows"))
    drawn, first = report.get("sampled", 0), len(lines) + len(rows)
    some = slice(most)
    say, split = words_of(report["unit"]), SPLITS.get(report.get("split", ""), "")
    note = ""
    if most is None and drawn > first:
        note = f"The first {first} of {drawn:,}; all are in {report['samples_file']}."
    if rows:
        heading = Text(f"{FROM_MODEL}:")
        blocks: list[Block] = [heading, Grid(report["sample_columns"], rows[some], note)]
        if real and report.get("real_rows"):
            others = Grid(report["sample_columns"], report["real_rows"][some])
            blocks += [Text(f"Real {say.sequence}s of the {split} split:"), others]
        return blocks
    if not lines:
        return []
    if report.get("board") is not None:
        return [boards(report, some, note)]
    if not real or not report.get("real_samples"):
        return [Lines(lines[some], note)]
    heading = f"Real {say.sequence}s of the {split} split"
    others = Lines(report["real_samples"][some])
    return [Beside({FROM_MODEL: Lines(lines[some], note), heading: others})]


def boards(report: Json, some: slice, note: str) -> Boards:
    """Every sample as a board beside the solution of its puzzle, with what is wrong marked."""
    box, columns = report["board"]["box"], report["board"]["columns"]
    samples, real = report["samples"][some], report["real_samples"][some]
    clues = [frozenset(cells) for cells in report["sample_given"][some]]
    groups, solved, violated = [], 0, 0
    for i, (sample, solution, given) in enumerate(zip(samples, real, clues, strict=True)):
        grid = digits(sample)
        broken = violated_units(grid, box)[0]
        repeated = frozenset(repeated_cells(grid, box)[0].nonzero()[:, 0].tolist())
        wrong = frozenset(
            k for k, (a, b) in enumerate(zip(sample, solution, strict=True)) if a != b
        )
        right = not bool(broken.any()) and not wrong & given
        solved, violated = solved + right, violated + int(broken.sum())
        told = f"sample {i + 1}: {'solved' if right else broken_in_words(broken)}"
        own = Board(sample, given, repeated, wrong, told)
        groups.append((own, Board(solution, given, caption="its solution")))
    n = max(1, len(samples))
    below = (
        f"Of these {len(samples)}, {solved} are solved; {violated / n:.1f} of {3 * columns} rows, "
        "columns and boxes are violated on average. Bold: a given clue. Shaded: a value that "
        "stands twice in its row, column or box. Underlined: a value that differs from the "
        f"solution. {note}"
    )
    return Boards(groups, columns, box, below.strip())


def digits(board: str) -> Tensor:
    """(1, cells) int64, value v as v - 1."""
    return torch.tensor([[DIGITS.index(character) for character in board]])


def broken_in_words(violated: Tensor) -> str:
    """Such as ``2 rows, 1 box violated``; violated: (3 side,) bool, rows, columns, boxes."""
    counts = violated.view(3, -1).sum(1).tolist()
    names = (("row", "rows"), ("column", "columns"), ("box", "boxes"))
    parts = [f"{k} {name[k > 1]}" for k, name in zip(counts, names, strict=True) if k]
    return ", ".join(parts) + " violated" if parts else "another solution"
