"""Sudokus: solutions against the rules, uniqueness against backtracking, symmetries, files."""

import pytest
import torch
from torch.nn.functional import one_hot

from ordo.data import DataError, MissingDataError, SudokuData
from ordo.data.tasks.sudoku_grids import (
    eliminate,
    random_clues,
    random_grids,
    solved,
    transformed,
)
from ordo.settings import SettingError


def rules_hold(grids, box):
    """Row by row, column by column and box by box, without the library's geometry."""
    side = box * box
    for grid in grids.view(-1, side, side).tolist():
        lines = [*grid, *zip(*grid, strict=True)]
        lines += [
            [grid[i + a][j + b] for a in range(box) for b in range(box)]
            for i in range(0, side, box)
            for j in range(0, side, box)
        ]
        if any(sorted(line) != list(range(side)) for line in lines):
            return False
    return True


def solutions(puzzle, box):
    """How many solutions, up to 2, a puzzle (a list, None: empty) has, by backtracking."""
    side = box * box

    def peers(i):
        r, c = divmod(i, side)
        return {
            j
            for j in range(side * side)
            for a, b in [divmod(j, side)]
            if a == r or b == c or (a // box, b // box) == (r // box, c // box)
        }

    empty = [
        (len(options), i, options)
        for i, v in enumerate(puzzle)
        if v is None
        for options in [set(range(side)) - {puzzle[j] for j in peers(i)}]
    ]
    if not empty:
        return 1
    _, i, options = min(empty)
    total = 0
    for value in options:
        total += solutions([value if j == i else v for j, v in enumerate(puzzle)], box)
        if total > 1:
            break
    return total


@pytest.mark.parametrize(("box", "n", "clues"), [(2, 60, (4, 8)), (3, 6, (28, 36))])
def test_puzzles_have_one_solution(box, n, clues):
    generator = torch.Generator().manual_seed(0)
    grids = random_grids(n, box, generator)
    given = random_clues(grids, box, clues, generator)
    assert rules_hold(grids, box)
    assert len(grids.unique(dim=0)) > 0.7 * n
    assert given.sum(1).min() >= clues[0]
    assert len(given.sum(1).unique()) > 3
    for puzzles, known in ((grids, given), transformed(grids, given, box, generator)):
        assert rules_hold(puzzles, box)
        assert torch.equal(known.sum(1), given.sum(1))
        for values, there in zip(puzzles.tolist(), known.tolist(), strict=True):
            assert (
                solutions([v if t else None for v, t in zip(values, there, strict=True)], box) == 1
            )
    again = transformed(grids, given, box, generator)[0]
    assert (again == grids).double().mean() < 1.5 / box**2, "another grid"


def test_elimination_finds_no_more_than_follows():
    """Empty and ambiguous puzzles stay open; contradictions are seen."""
    grids = random_grids(40, 2, torch.Generator().manual_seed(1))
    few = torch.rand(40, 16, generator=torch.Generator().manual_seed(2)) < 0.3
    left = eliminate(one_hot(grids, 4).bool() | ~few[..., None], 2)
    assert left.gather(-1, grids[..., None]).all(), "the solution is never ruled out"
    for i in range(40):
        count = solutions(
            [v if t else None for v, t in zip(grids[i].tolist(), few[i].tolist(), strict=True)], 2
        )
        assert count == 1 or not solved(left[i : i + 1]).item()
    wrong = torch.ones(1, 16, 4, dtype=torch.bool)
    wrong[0, 0], wrong[0, 1] = (
        torch.tensor([True, False, False, False]),
        torch.tensor([True, False, False, False]),
    )
    assert not solved(eliminate(wrong, 2)).item()


def tiny(**changes):
    data = SudokuData(
        **({"box": 2, "clues": (4, 8), "bank": 20, "eval_size": 8, "batch_size": 4} | changes)
    )
    data.setup()
    return data


def test_batches():
    data = tiny()
    tokens, known = next(iter(data.train_dataloader()))[:2]
    assert (tokens.shape, known.dtype) == ((4, 16), torch.bool)
    assert rules_hold(tokens, 2)
    assert torch.equal(tokens, next(iter(tiny().train_dataloader()))[0]), "a function of the seed"
    assert not torch.equal(tokens, next(iter(tiny(seed=1).train_dataloader()))[0])
    halves = [data.train_rows(rank, 2).__getitems__([0]) for rank in (0, 1)]
    whole = tiny(batch_size=8).train_rows(0, 1).__getitems__([0])
    for half, all_rows in zip(
        zip(*(half[:2] for half in halves), strict=True), whole[:2], strict=True
    ):
        assert torch.equal(torch.stack(half, 1).flatten(0, 1), all_rows), (
            "ranks share the rows of one process"
        )
    assert torch.equal(data.val_set.tokens, tiny(seed=3).val_set.tokens)
    assert not torch.equal(data.val_set.tokens, data.test_set.tokens)
    assert data.decode(torch.tensor([[0, 1, 2, 3, 4] + [4] * 11])) == ["1234____________"]


def test_files(tmp_path):
    data = tiny()
    rows = data.val_set
    lines = ["puzzle,solution"]
    for tokens, known in zip(rows.tokens.tolist(), rows.known.tolist(), strict=True):
        lines.append(
            "".join(str(t + 1) if k else "0" for t, k in zip(tokens, known, strict=True))
            + ","
            + "".join(str(t + 1) for t in tokens)
        )
    path = tmp_path / "puzzles.csv"
    path.write_text("\n".join(lines) + "\n")
    read = tiny(path=str(path))
    assert torch.equal(read.test_set.tokens, rows.tokens)
    assert torch.equal(read.test_set.known, rows.known)
    solution = lines[2].split(",")[1]
    for bad, told in (
        ("12", "line 3: needs a puzzle"),
        ("0" * 16 + "," + "5" + solution[1:], "line 3: needs a puzzle"),
        ("0" * 16 + "," + solution[1] + solution[1:], "line 3: not a solution"),
        (str(int(solution[0]) % 4 + 1) + "0" * 15 + "," + solution, "line 3: not a solution"),
    ):
        path.write_text("\n".join([*lines[:2], bad, *lines[3:]]))
        with pytest.raises(DataError, match=told):
            tiny(path=str(path))
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match="line 1: needs a heading"):
        tiny(path=str(path))
    path.write_text("puzzle,solution\n")
    with pytest.raises(DataError, match="no puzzles"):
        tiny(path=str(path))
    with pytest.raises(MissingDataError, match="another file"):
        tiny(path=str(tmp_path / "none.csv"))
    for changes in ({"box": 4}, {"clues": (8, 4)}, {"clues": (4, 16)}, {"bank": 0}):
        with pytest.raises((DataError, SettingError)):
            tiny(**changes)
