"""What is said of filled Sudokus, against loops over rows, columns and boxes."""

import pytest
import torch

from ordo.data.tasks.sudoku_grids import random_grids
from ordo.metrics import repeated_cells, sudoku_quality, violated_units


def units_by_loops(side, box):
    """The cells of every row, column and box, in this order."""
    rows = [[i * side + j for j in range(side)] for i in range(side)]
    columns = [[i * side + j for i in range(side)] for j in range(side)]
    boxes = [
        [(top + i) * side + left + j for i in range(box) for j in range(box)]
        for top in range(0, side, box)
        for left in range(0, side, box)
    ]
    return rows + columns + boxes


@pytest.mark.parametrize("box", [2, 3])
def test_units_and_cells_against_loops(box):
    side, random = box * box, torch.Generator().manual_seed(box)
    grids = random_grids(8, box, random)
    for n in range(1, 8):  # grid n has n cells of other values, perhaps the same again
        cells = torch.randperm(side**2, generator=random)[:n]
        grids[n, cells] = torch.randint(side, (n,), generator=random)
    found, repeated = violated_units(grids, box), repeated_cells(grids, box)
    units = units_by_loops(side, box)
    counts = []
    for grid, bad, twice in zip(grids.tolist(), found.tolist(), repeated.tolist(), strict=True):
        expected = [sorted(grid[c] for c in unit) != list(range(side)) for unit in units]
        assert bad == expected
        counts.append(sum(expected))
        again = set()
        for unit in units:
            again |= {c for c in unit for other in unit if other != c and grid[c] == grid[other]}
        assert {c for c, one in enumerate(twice) if one} == again
    assert counts[0] == 0
    assert max(counts) > 6
    quality = sudoku_quality(grids, box)
    assert quality["violated_constraints"] == pytest.approx(sum(counts) / 8)
    assert quality["solved"] == counts.count(0) / 8


def test_a_grid_that_drops_a_clue_is_not_solved():
    grids = random_grids(2, 2, torch.Generator().manual_seed(0))
    given, known = grids.clone(), torch.zeros_like(grids, dtype=torch.bool)
    known[:, :6] = True
    assert sudoku_quality(grids, 2, given, known)["solved"] == 1
    swapped = 3 - grids  # every value renamed: another solution, of other clues
    assert sudoku_quality(swapped, 2) == {"solved": 1, "violated_constraints": 0}
    assert sudoku_quality(swapped, 2, given, known) == {"solved": 0, "violated_constraints": 0}
    assert sudoku_quality(swapped, 2, given, ~known & known)["solved"] == 1


@pytest.mark.parametrize(
    ("grids", "told"),
    [
        (torch.zeros(2, 15, dtype=torch.long), "need shape"),
        (torch.full((1, 16), 4), "must lie in 0..3"),
        (torch.full((1, 16), -1), "must lie in 0..3"),
    ],
)
def test_what_is_no_grid(grids, told):
    with pytest.raises(ValueError, match=told):
        violated_units(grids, 2)
