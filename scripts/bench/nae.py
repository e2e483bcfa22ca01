"""Does it find an order? Latents-and-observations, 28 shuffled columns, nats above the exact entropy.

Equal denoiser rows: 256 a step, 3000 steps, 2 layers of width 64. ``fixed`` is the dense objective under uniformly random
orders; ``time``, ``order`` and ``dense`` learn a free table of log w. Own NELBO and exact mode order on the same 1024 test sequences.
``exchangeable`` is the control: 16 bits of even parity, where no order is better, so own and uniform NELBO must agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.common import run_all
from ordo.likelihood import nelbo
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.training.build import build_data
from ordo.training.checkpoint import load

ROWS = 256
KINDS = {
    "fixed": ["schedule=linear"],
    "time": ["objective=time", "denoiser=bidirectional", f"data.batch_size={ROWS // 2}"],
    # Its gradient is noisier than the dense one: a smaller step for the law.
    "order": [
        "objective=order",
        "denoiser=bidirectional",
        f"data.batch_size={ROWS // 2}",
        "optimizer.schedule_lr=0.05",
        "optimizer.schedule_delay=300",
    ],
    "dense": [],
    "exchangeable": ["data=exchangeable", f"data.batch_size={ROWS}", "steps=1000", "optimizer.schedule_delay=100"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of every kind")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds first, first + 1, ...; to run a benchmark in parts")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def own_minus_uniform(folder: Path) -> tuple[float, float]:
    """Paired over test sequences: mean of own minus uniform NELBO, nats, and its standard error."""
    module, config = load(folder)
    tokens = build_data(config).test_set.tokens
    own = nelbo(module.denoiser, module.schedule.law(), tokens, 16, StepRandom(1))
    uniform = nelbo(module.denoiser, uniform_law(tokens.shape[1]), tokens, 16, StepRandom(2))
    difference = own - uniform
    return difference.mean().item(), (difference.std() / len(difference) ** 0.5).item()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    common = ["report.split=test", "report.exact_sequences=256", f"trainer.accelerator={arguments.device.replace('cuda', 'gpu')}"]
    common += ["validate_every=1500", "checkpoint_every=1500"] if not arguments.quick else ["steps=20", "validate_every=10"]
    runs = {f"{kind}_{seed}": ("nae_learned_order", [*KINDS[kind], f"seed={seed}", *common]) for seed in seeds for kind in arguments.kinds}
    reports = run_all(runs, arguments.work, arguments.jobs)
    out: dict[str, Any] = {}
    for kind in arguments.kinds:
        mine = [reports[f"{kind}_{seed}"] for seed in seeds]
        out[kind] = {
            "own": [r["estimates"]["own_nelbo"]["nats_above_entropy"] for r in mine],
            "mode": [r["estimates"]["mode_exact"]["nats_above_entropy"] for r in mine],
            "seconds": [r["fit_seconds"] for r in mine],
        }
        if kind == "exchangeable":
            pairs = [own_minus_uniform(Path(arguments.work) / f"{kind}_{seed}") for seed in seeds]
            out[kind] |= {"own_minus_uniform": [p[0] for p in pairs], "standard_error": [p[1] for p in pairs]}
    return out
