"""Total variance of the gradient in log w, three estimators at equal denoiser rows, on trained models.

For each case a bidirectional denoiser (time, order) and an order-causal one (dense) of equal size are trained on equal rows and steps: the
runs of the benchmarks nae and text, reused where they are below --work. Then the gradient of the NELBO (nats per sequence) in a free
log w is estimated many times, each time from ``rows`` denoiser rows on fresh sequences, and the variances of its entries are added up.
Cases: NAE under each model's own learned law, text8 under uniform orders.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks import nae, text
from benchmarks.common import run_all, workers
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.order import PlackettLuce
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.entry import existing
from ordo.runs.stored import load, load_data
from ordo.schedules import FreeTable, Power

ROWS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text8",
        type=existing,
        default=None,
        help="text8 or its first megabytes; without it only NAE is measured",
    )
    parser.add_argument("--repeats", type=int, default=200, help="gradient estimates per figure")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")


def total_variance(
    objective: Any, denoiser: Any, log_w: torch.Tensor, batches: Any, repeats: int
) -> dict[str, float]:
    """Sum over positions of the variance of d NELBO / d log w, and its standard error over the estimates."""
    schedule = Power(len(log_w), FreeTable(len(log_w)))
    with torch.no_grad():
        schedule.network.table.copy_(log_w)  # type: ignore[union-attr]
    gradients = []
    warm = 30  # estimates that only fit the running baselines
    for step in track(range(repeats + warm), "gradients"):
        tokens = next(batches)[: ROWS // objective.draws]
        out = objective(denoiser, schedule, tokens, StepRandom(seed=1, step=step))
        (gradient,) = torch.autograd.grad(out.loss * tokens.shape[1], schedule.network.table)  # type: ignore[union-attr]
        if step >= warm:
            gradients.append(gradient.double())
    stacked = torch.stack(gradients)
    squares = (stacked - stacked.mean(0)).square().sum(-1) * repeats / (repeats - 1)
    return {
        "variance": squares.mean().item(),
        "standard_error": (squares.std() / repeats**0.5).item(),
        "signal": stacked.mean(0).norm().item(),
    }


def endless(data: Any) -> Any:
    while True:
        yield from data.train_dataloader()


def measure(folder: Path, own_law: bool, repeats: int) -> dict[str, float]:
    """Figures of every objective that fits the denoiser of a run, under its own learned law or under uniform orders."""
    torch.set_num_threads(1)
    module, config = load(folder)
    # Not the batches it was trained on.
    changes = {"batch_size": ROWS, "seed": config["data"]["seed"] + 1}
    data = load_data(config, folder, changes=changes, as_trained=True)
    length = data.length
    law = module.schedule.law()
    log_w = law.log_w if own_law and isinstance(law, PlackettLuce) else torch.zeros(length)
    objectives: dict[str, Any] = {
        "dense": Dense(length, draws=1, baseline="ema"),
        "dense_plain": Dense(length, draws=1, baseline="ema", control=False),
        "dense_rloo": Dense(length, draws=2, baseline="rloo"),
        "dense_rloo_plain": Dense(length, draws=2, baseline="rloo", control=False),
    }
    if not module.denoiser.order_causal:
        objectives = {"time": TimeSpace(draws=2), "order": OrderSpace(draws=2)}
    out = {}
    for kind, objective in objectives.items():
        figure = total_variance(objective, module.denoiser, log_w, endless(data), repeats)
        out |= {
            kind: figure["variance"],
            f"{kind}_se": figure["standard_error"],
            f"{kind}_signal": figure["signal"],
        }
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    repeats = 5 if arguments.quick else arguments.repeats
    on = (arguments.device, arguments.quick)
    cases = {  # bidirectional run, order-causal run, whether each is measured under its own learned law
        "NAE, own learned law of each": ("nae_order_0", "nae_dense_0", True),
    }
    runs = {f"nae_{kind}_0": nae.define(kind, 0, *on) for kind in ("order", "dense")}
    if arguments.text8:
        cases["text8, 32 characters, uniform orders"] = (
            "text_fixed_order_32_0",
            "text_fixed_dense_32_0",
            False,
        )
        runs |= {
            f"text_{name}_32_0": text.define(name, 0, arguments.text8, *on)
            for name in ("fixed_order", "fixed_dense")
        }
    run_all(runs, arguments.work, arguments.jobs)
    results = []
    with workers(arguments.jobs) as pool:
        waiting = [
            [pool.submit(measure, Path(arguments.work) / run, own_law, repeats) for run in pair]
            for *pair, own_law in cases.values()
        ]
        for name, (both, causal) in zip(cases, waiting, strict=True):
            result = both.result() | causal.result()
            ratios = {
                "ratio_time_to_order": result["time"] / result["order"],
                "ratio_order_to_dense": result["order"] / result["dense"],
                "ratio_time_to_dense": result["time"] / result["dense"],
            }
            results.append(result | ratios | {"rows": ROWS, "on": name})
            note(str(results[-1]))
    return results[0] | {"cases": results}
