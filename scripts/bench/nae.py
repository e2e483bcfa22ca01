"""Does it find an order? Latents-and-observations, 28 shuffled columns, nats above the exact entropy.

Equal denoiser rows: 256 a step, 3000 steps, 2 layers of width 64. ``fixed`` is the dense objective under uniformly random
orders; the others learn a free table of log w. Own NELBO and exact mode order on the same 1024 test sequences.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.common import run_all

ROWS = 256
KINDS = {
    "fixed": ["schedule=linear"],
    "time": ["objective=time", "denoiser=bidirectional", f"data.batch_size={ROWS // 2}"],
    "order": ["objective=order", "denoiser=bidirectional", f"data.batch_size={ROWS // 2}"],
    "dense": [],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..N-1 of every kind")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    common = ["report.split=test", "report.exact_sequences=256", f"trainer.accelerator={arguments.device.replace('cuda', 'gpu')}"]
    common += ["validate_every=1500", "checkpoint_every=1500"] if not arguments.quick else ["steps=20", "validate_every=10"]
    runs = {
        f"{kind}_{seed}": ("nae_learned_order", [*KINDS[kind], f"seed={seed}", *common])
        for seed in range(arguments.seeds)
        for kind in arguments.kinds
    }
    reports = run_all(runs, arguments.work, arguments.jobs)
    out: dict[str, Any] = {}
    for kind in arguments.kinds:
        mine = [reports[f"{kind}_{seed}"] for seed in range(arguments.seeds)]
        out[kind] = {
            "own": [r["estimates"]["own_nelbo"]["nats_above_entropy"] for r in mine],
            "mode": [r["estimates"]["mode_exact"]["nats_above_entropy"] for r in mine],
            "seconds": [r["fit_seconds"] for r in mine],
        }
    return out
