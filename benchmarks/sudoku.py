"""Share of Sudokus solved by every sampler, with denoisers of random and of learned orders.

The denoisers are trained on puzzles made here (``experiment=sudoku`` or ``sudoku_4x4``) and tested
on --puzzles FILE, or on others made here. Both have 64 denoiser rows a step. A puzzle counts as
solved if every cell is right; the errors are binomial. Published, 9 x 9, 6M parameters (Kim et al.
2025, 2502.06768): random order 6.9%, confidence 18.5%, margin 89.5%.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Run, Runs, Study, numbers
from benchmarks.samplers import sampler_of
from benchmarks.solving import solve
from ordo.data import SudokuData
from ordo.runs.parser import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import ByScore, Sampler

KINDS = {
    "fixed": "",
    "learned": "schedule=power_table objective.draws=2 data.batch_size=32",
}
REPORT = "report.split=val report.sequences=500 report.importance_draws=1 report.exact_sequences=32"
OPTIONS = {
    "box": (3, "3: 9 x 9, 2: 4 x 4", {"choices": [2, 3]}),
    "puzzles": (None, "CSV of puzzles (puzzle, solution), else made here", {"type": existing}),
    "most": (500, "test puzzles, evenly spaced"),
    "calls": ([4, 12], "budgets of the parallel samplers"),
    **numbers(steps=None, seeds=None, jobs=2),
}


def folder(kind: str, seed: int, a: Namespace) -> str:
    return f"sudoku_{a.box}_{kind}_{seed}"


def define(kind: str, seed: int, a: Namespace) -> Run:
    steps = [f"steps={a.steps}"] if a.steps else []
    changes = [*KINDS[kind].split(), *REPORT.split(), *steps]
    return "sudoku" if a.box == 3 else "sudoku_4x4", changes


def samplers(calls: list[int], learned: bool) -> dict[str, tuple[Sampler, bool]]:
    """Name -> sampler, and whether it decodes by the model's own law, not by random orders."""
    out = {"random": sampler_of("first_hitting"), "left to right": sampler_of("left_to_right")}
    own = {"own law": "first_hitting", "mode of own law": "mode_order"} if learned else {}
    # One cell a call.
    out |= {score: Sampler(ByScore(score)) for score in ("confidence", "margin", "entropy")}
    for k in calls:
        budget = f"sampler.how_many.calls={k}"
        for score in ("margin", "entropy"):
            out[f"{score}, {k} calls"] = sampler_of(f"top_k_{score}", budget)
        out[f"ancestral, {k} calls"] = sampler_of("ancestral", budget)
        revised = sampler_of("path_planning", f"sampler.revise.calls={k}")
        out[f"path planning, {k} calls"] = revised
    for name, key, values in (
        ("threshold", "confidence", (0.9, 0.99)),
        ("entropy_bounded", "gamma", (0.01, 0.1)),
    ):
        for value in values:
            out[f"{name} {value}"] = sampler_of(name, f"sampler.how_many.{key}={value}")
    out |= {"klass": sampler_of("klass"), "remdm, 64 steps": sampler_of("remdm_cap")}
    chosen = {name: (sampler, False) for name, sampler in out.items()}
    return chosen | {name: (sampler_of(choice), True) for name, choice in own.items()}


def solved(folder: Path, a: Namespace, learned: bool) -> dict[str, Any]:
    """Solve rate of every sampler with one trained model, cells right, calls and seconds."""
    module, config = load(folder)
    data = load_data(config, folder, {"path": a.puzzles})
    assert isinstance(data, SudokuData)
    test = data.test_set
    assert test.known is not None
    some = torch.linspace(0, len(test) - 1, min(a.most, len(test))).round().long()
    tasks = test.tokens[some], test.known[some]
    found = solve(module.to(a.device), samplers(a.calls, learned), tasks, a.box, folder.name)
    return {
        name: {
            "solved": entry.rate,
            "standard_error": entry.error,
            "cells_right": entry.tokens_right,
            "calls": entry.trace.calls.double().mean().item(),
            "seconds": entry.seconds,
        }
        for name, entry in found
    }


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, runs in found.items():
        modules = [load(folder)[0] for folder in runs.folders]
        learned = kind == "learned"
        out[kind] = {
            "samplers": runs.each(lambda f, learned=learned: solved(f, a, learned), {}),
            "own": runs.estimates("nats", own="own_nelbo")["own"],
            "seconds": runs.listed("fit_seconds"),
            "parameters": [sum(p.numel() for p in module.parameters()) for module in modules],
        }
    puzzles = a.puzzles and Path(a.puzzles).name
    return out | {"box": a.box, "puzzles": puzzles, "torch": torch.__version__}


STUDY = Study(folder, KINDS, define, summary, OPTIONS, quick="data.bank=20 data.eval_size=20")
