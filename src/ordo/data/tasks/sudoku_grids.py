"""Grids of Sudokus: full grids, clues that leave one solution, symmetries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ordo.boards import geometry
from ordo.data.module import Rows


def eliminate(candidates: Tensor, box: int) -> Tensor:
    """Removes candidates until nothing more follows from single cells.

    Two rules are applied: a cell with one candidate excludes its value from the cell's row, column
    and box (naked single); a value with one possible cell in a row, column or box goes there
    (hidden single). A grid whose cells all have one candidate is solved, and has no other solution.
    A grid with a cell without candidates has no solution.

    candidates: (n, cells, side) bool, as is the result.
    """
    _, units = geometry(box)
    peers = ((units.T @ units) > 0).float() - torch.eye(units.shape[1])
    while True:
        single = candidates & (candidates.sum(-1, keepdim=True) == 1)
        left = candidates & ~((peers @ single.float()) > 0)
        only_here = ((units.T @ ((units @ left.float()) == 1).float()) > 0) & left
        left = torch.where(only_here.any(-1, keepdim=True), only_here, left)
        if torch.equal(left, candidates):
            return left
        candidates = left


def solved(candidates: Tensor) -> Tensor:
    """Which grids are solved, (n,) bool."""
    return (candidates.sum(-1) == 1).all(-1)


def random_grids(n: int, box: int, generator: torch.Generator) -> Tensor:
    """Full grids (n, cells) int64 in 0..side-1.

    Random values go to cells of fewest candidates; a grid that contradicts itself is begun again.
    """
    cells, side = box**4, box**2
    everything = torch.ones(n, cells, side, dtype=torch.bool)
    candidates, done = everything.clone(), []
    while sum(map(len, done)) < n:
        number = candidates.sum(-1)
        fewest = torch.where(number > 1, number, side + 1) + torch.rand(
            number.shape, generator=generator
        )
        cell = fewest.argmin(1, keepdim=True)[..., None].expand(-1, -1, side)
        weight = (
            torch.rand(len(candidates), side, generator=generator)
            * candidates.gather(1, cell)[:, 0]
        )
        chosen = torch.nn.functional.one_hot(weight.argmax(1), side).bool()
        candidates = eliminate(candidates.scatter(1, cell, chosen[:, None]), box)
        finished = solved(candidates)
        done.append(candidates[finished].to(torch.int8).argmax(-1))
        again = finished | (candidates.sum(-1) == 0).any(-1)
        candidates = torch.where(again[:, None, None], everything, candidates)
    return torch.cat(done)[:n]


def random_clues(
    grids: Tensor, box: int, clues: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Which cells (n, cells) bool of full grids are given.

    Cells are taken away in random order, down to a number that is uniform on clues[0]..clues[1]. A
    cell is taken away only if ``eliminate`` still solves the puzzle, which proves that the solution
    is unique.
    """
    n, cells = grids.shape
    given = torch.ones(n, cells, dtype=torch.bool)
    target = torch.randint(clues[0], clues[1] + 1, (n,), generator=generator)
    value = torch.nn.functional.one_hot(grids, box * box).bool()
    for cell in torch.rand(n, cells, generator=generator).argsort(1).T:
        wants = (given.sum(1) > target).nonzero()[:, 0]
        if not len(wants):
            break
        fewer = given[wants].scatter(1, cell[wants, None], False)
        still = solved(eliminate(value[wants] | ~fewer[..., None], box))
        given[wants[still]] = fewer[still]
    return given


def transformed(
    grids: Tensor, given: Tensor, box: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Every puzzle (n, cells) under a random symmetry.

    Values are renamed, rows and columns permuted within and between bands, and grids transposed.
    """
    n, side = len(grids), box * box

    def lines() -> Tensor:
        band = torch.rand(n, box, generator=generator).argsort(1).repeat_interleave(box, 1)
        return (band + torch.rand(n, side, generator=generator)).argsort(1)

    cell = lines()[:, :, None] * side + lines()[:, None]
    flip = torch.rand(n, generator=generator) < 0.5
    cell = torch.where(flip[:, None, None], rearrange(cell, "n row column -> n column row"), cell)
    cell = rearrange(cell, "n row column -> n (row column)")
    name = torch.rand(n, side, generator=generator).argsort(1)
    return name.gather(1, grids.gather(1, cell)), given.gather(1, cell)


def made_puzzles(n: int, box: int, clues: Sequence[int], generator: torch.Generator) -> Rows:
    """n puzzles, a function of the arguments; clues: least and most given cells."""
    grids = random_grids(n, box, generator)
    return Rows(grids, random_clues(grids, box, clues, generator))
