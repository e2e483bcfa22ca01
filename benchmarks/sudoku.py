"""Share of Sudokus solved by every sampler, with a denoiser trained on random orders and one trained with a learned order.

Trained on puzzles made here (``experiment=sudoku`` or ``sudoku_4x4``), tested on --puzzles FILE or on others made here. Equal denoiser
rows for both: 64 a step. A puzzle counts as solved if every cell is right; the errors are binomial. Published, 9 x 9, 6M parameters (Kim
et al. 2025, 2502.06768): random order 6.9%, confidence 18.5%, margin 89.5%.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import QUICK, Run, progress, run_all, sampler_of, seeds_of
from ordo.data import SudokuData
from ordo.runs.entry import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import ByScore, Sampler, sample_batches
from ordo.schedules import Linear

KINDS = {
    "fixed": [],
    "learned": ["schedule=power_table", "objective.draws=2", "data.batch_size=32"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--box", type=int, default=3, choices=[2, 3], help="3: 9 x 9, 2: 4 x 4")
    parser.add_argument(
        "--puzzles",
        type=existing,
        help="CSV of test puzzles (puzzle, solution); not given: made here",
    )
    parser.add_argument(
        "--seeds", type=int, help="seeds 0, 1, ... of every kind that names no number of its own"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(KINDS),
        metavar="KIND[=SEEDS]",
        help=f"of {', '.join(KINDS)}",
    )
    parser.add_argument("--steps", type=int, help="not given: the experiment's")
    parser.add_argument("--most", type=int, default=500, help="test puzzles, evenly spaced")
    parser.add_argument(
        "--calls", type=int, nargs="+", default=[4, 12], help="budgets of the parallel samplers"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def samplers(calls: list[int], learned: bool) -> dict[str, tuple[Sampler, bool]]:
    """Name -> sampler, and whether it decodes by the model's own law rather than by random orders."""
    out = {
        "random": (sampler_of("first_hitting"), False),
        "left to right": (sampler_of("given_order"), False),
    }
    if learned:
        out |= {
            "own law": (sampler_of("first_hitting"), True),
            "mode of own law": (sampler_of("mode_order"), True),
        }
    out |= {
        score: (Sampler(ByScore(score)), False) for score in ("confidence", "margin", "entropy")
    }  # one cell a call
    for k in calls:
        out |= {
            f"{score}, {k} calls": (
                sampler_of(
                    "top_k", [f"sampler.where.score={score}", f"sampler.how_many.calls={k}"]
                ),
                False,
            )
            for score in ("margin", "entropy")
        }
        out[f"ancestral, {k} calls"] = (
            sampler_of("ancestral", [f"sampler.how_many.calls={k}"]),
            False,
        )
        out[f"path planning, {k} calls"] = (
            sampler_of("path_planning", [f"sampler.revise.calls={k}"]),
            False,
        )
    for name, value in (
        ("threshold", "confidence=0.9"),
        ("threshold", "confidence=0.99"),
        ("entropy_bounded", "gamma=0.01"),
        ("entropy_bounded", "gamma=0.1"),
    ):
        out[f"{name} {value.split('=')[1]}"] = (
            sampler_of(name, [f"sampler.how_many.{value}"]),
            False,
        )
    out["klass"] = sampler_of("klass"), False
    out["remdm, 64 steps"] = sampler_of("remdm"), False
    return out


def define(kind: str, box: int, seed: int, steps: int | None, device: str, quick: bool) -> Run:
    """The run of one kind and seed."""
    changes = [
        *KINDS[kind],
        f"seed={seed}",
        "report.split=val",
        "report.sequences=500",
        "report.importance_draws=1",
        "report.exact_sequences=32",
    ]
    changes += [
        f"trainer.accelerator={device.replace('cuda', 'gpu')}",
        *([f"steps={steps}"] if steps else []),
    ]
    small = ["data.bank=20", "data.eval_size=20"]
    return "sudoku" if box == 3 else "sudoku_4x4", [*changes, *([*QUICK, *small] if quick else [])]


def solve(folder: Path, a: argparse.Namespace, learned: bool) -> dict[str, Any]:
    """Of one trained model: solve rate of every sampler, its standard error, cells right, calls and seconds."""
    module, config = load(folder)
    data = load_data(config, folder, {"path": a.puzzles})
    assert isinstance(data, SudokuData)
    test = data.test_set
    assert test.known is not None
    some = torch.linspace(0, len(test) - 1, min(a.most, len(test))).round().long()
    tokens, known = test.tokens[some], test.known[some]
    denoiser = module.to("cuda" if a.device == "cuda" else "cpu").denoiser
    out: dict[str, Any] = {}
    for name, (sampler, own) in progress(samplers(a.calls, learned), folder.name):
        begun = time.perf_counter()
        schedule = module.schedule if own else Linear(data.length).to(denoiser.device)
        trace = sample_batches(
            denoiser,
            sampler,
            len(tokens),
            250,
            schedule=schedule,
            seed=a.box,
            given=tokens,
            known=known,
        )
        right = trace.tokens == tokens
        rate = right.all(1).double().mean().item()
        out[name] = {
            "solved": rate,
            "standard_error": (rate * (1 - rate) / len(tokens)) ** 0.5,
            "cells_right": right[~known].double().mean().item(),
            "calls": trace.calls.double().mean().item(),
            "seconds": time.perf_counter() - begun,
        }
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    seeds = seeds_of(a.kinds, KINDS, a.seeds, {})
    names = {
        kind: [f"sudoku_{a.box}_{kind}_{seed}" for seed in range(seeds[kind])] for kind in seeds
    }
    runs = {
        name: define(kind, a.box, seed, a.steps, a.device, a.quick)
        for kind in seeds
        for seed, name in enumerate(names[kind])
    }
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for kind in seeds:
        solved = [
            solve(Path(a.work) / name, a, kind == "learned") if reports[name]["estimates"] else {}
            for name in names[kind]
        ]
        out[kind] = {
            "samplers": solved,
            "own": [
                reports[name]["estimates"].get("own_nelbo", {}).get("nats") for name in names[kind]
            ],
            "seconds": [reports[name]["fit_seconds"] for name in names[kind]],
            "parameters": [
                sum(p.numel() for p in load(Path(a.work) / name)[0].parameters())
                for name in names[kind]
            ],
        }
    return out | {
        "box": a.box,
        "puzzles": a.puzzles and Path(a.puzzles).name,
        "torch": torch.__version__,
    }
