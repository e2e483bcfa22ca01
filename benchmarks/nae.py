"""Does it find an order? Latents-and-observations, 28 shuffled columns, nats above the exact entropy.

Equal denoiser rows: 256 a step, 3000 steps, 2 layers of width 64. ``fixed`` trains the dense objective on uniformly random orders;
``time``, ``order`` and ``dense`` learn a free table of log w. Own NELBO and exact mode order on the same 1024 test sequences.
``exchangeable`` is the control: 16 bits of even parity, where no order is better, so own and uniform NELBO must agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import QUICK, Run, estimate, run_all, seeds_of
from ordo.likelihood import nelbo, order_log_prob
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.runs.stored import load, load_data

NOISIER = "optimizer.schedule_lr=0.05"  # than the dense gradient: a smaller step for the law
TWO_DRAWS = ["objective.draws=2", "objective.score.baseline=rloo"]
KINDS = {
    "fixed": ["schedule=linear", "objective=dense", "data.batch_size=256"],
    "time": ["objective=time", "denoiser=bidirectional", NOISIER, "schedule.bound=4"],
    "order": ["objective=order", "denoiser=bidirectional", *TWO_DRAWS, NOISIER],
    "dense": [],
    "exchangeable": ["data=exchangeable", "steps=1000"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def mean_and_error(values: torch.Tensor) -> tuple[float, float]:
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def mode_above_entropy(folder: Path) -> tuple[float, float]:
    """Exact -log p in the mode order minus the entropy, nats, over the whole test set, and its standard error."""
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert data.entropy is not None
    tokens = data.test_set.tokens
    return mean_and_error(
        -order_log_prob(module.denoiser, tokens, module.schedule.law().mode()) - data.entropy
    )


def own_minus_uniform(folder: Path) -> tuple[float, float]:
    """Paired over test sequences: mean of own minus uniform NELBO, nats, and its standard error."""
    module, config = load(folder)
    tokens = load_data(config, folder, as_trained=True).test_set.tokens
    own = nelbo(module.denoiser, module.schedule.law(), tokens, 16, StepRandom(1))
    uniform = nelbo(module.denoiser, uniform_law(tokens.shape[1]), tokens, 16, StepRandom(2))
    return mean_and_error(own - uniform)


def define(kind: str, seed: int, device: str, quick: bool) -> Run:
    """The run of one kind and seed."""
    common = ["report.split=test", f"trainer.accelerator={device.replace('cuda', 'gpu')}"]
    common += ["report.exact_sequences=256", "validate_every=1500", "checkpoint_every=1500"]
    return "nae_learned_order", [*KINDS[kind], f"seed={seed}", *common, *(QUICK if quick else [])]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    seeds = seeds_of(
        arguments.kinds, KINDS, arguments.seeds, {"dense": 5, "order": 5, "exchangeable": 5}
    )
    runs = {
        f"nae_{kind}_{seed}": define(kind, seed, arguments.device, arguments.quick)
        for kind in seeds
        for seed in range(seeds[kind])
    }
    reports = run_all(runs, arguments.work, arguments.jobs)
    out: dict[str, Any] = {}
    for kind in seeds:
        mine = [reports[f"nae_{kind}_{seed}"] for seed in range(seeds[kind])]
        folders = [Path(arguments.work) / f"nae_{kind}_{seed}" for seed in range(seeds[kind])]
        modes = [
            mode_above_entropy(folder) if r["estimates"] else (None, None)
            for folder, r in zip(folders, mine, strict=True)
        ]
        out[kind] = {
            "own": [estimate(r, "own_nelbo", "nats_above_entropy") for r in mine],
            "own_standard_error": [estimate(r, "own_nelbo", "standard_error") for r in mine],
            "mode": [m[0] for m in modes],
            "mode_standard_error": [m[1] for m in modes],
            "seconds": [r["fit_seconds"] for r in mine],
        }
        if kind == "exchangeable":
            pairs = [
                own_minus_uniform(folder) if r["estimates"] else (None, None)
                for folder, r in zip(folders, mine, strict=True)
            ]
            out[kind] |= {
                "own_minus_uniform": [p[0] for p in pairs],
                "standard_error": [p[1] for p in pairs],
            }
    return out
