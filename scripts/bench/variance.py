"""Total variance of the gradient in log w, three estimators at equal denoiser rows, on trained models.

For each case a bidirectional denoiser (time, order) and an order-causal one (dense) of equal size are trained first, on equal rows and
steps; then the gradient of the NELBO (nats per sequence) in a free log w is estimated many times, each time from ``rows`` denoiser rows on
fresh sequences, and the variances of its entries are added up. Cases: NAE under uniform orders, NAE under each model's own learned law,
text8 under uniform orders.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from bench.common import run_all
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Power
from ordo.training.build import build_data
from ordo.training.checkpoint import load

ROWS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text8", default=None, help="text8 or its first megabytes; without it only NAE is measured")
    parser.add_argument("--repeats", type=int, default=200, help="gradient estimates per figure")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of each model")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")


def total_variance(objective: Any, denoiser: Any, log_w: torch.Tensor, batches: Any, repeats: int) -> dict[str, float]:
    """Sum over positions of the variance of d NELBO / d log w, and its standard error by halves of the repeats."""
    schedule = Power(len(log_w), FreeTable(len(log_w)))
    with torch.no_grad():
        schedule.network.table.copy_(log_w)  # type: ignore[union-attr]
    gradients = []
    warm = 30  # estimates that only fit the running baselines
    for step in range(repeats + warm):
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


def measure(bidirectional: Path, causal: Path, own_law: bool, repeats: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for folder, kinds in ((bidirectional, ("time", "order")), (causal, ("dense", "dense_plain", "dense_rloo", "dense_rloo_plain"))):
        module, config = load(folder)
        config.data.batch_size = ROWS
        data = build_data(config)
        length = data.length
        law = module.schedule.law()
        log_w = law.log_w if own_law and isinstance(law, PlackettLuce) else torch.zeros(length)
        for kind in kinds:
            objective = {
                "time": TimeSpace(draws=2),
                "order": OrderSpace(draws=2),
                "dense": Dense(length, draws=1, baseline="ema"),
                "dense_plain": Dense(length, draws=1, baseline="ema", control=False),
                "dense_rloo": Dense(length, draws=2, baseline="rloo"),
                "dense_rloo_plain": Dense(length, draws=2, baseline="rloo", control=False),
            }[kind]
            figure = total_variance(objective, module.denoiser, log_w, endless(data), repeats)
            out[kind], out[f"{kind}_se"] = figure["variance"], figure["standard_error"]
    out["ratio_time_to_order"], out["ratio_order_to_dense"] = out["time"] / out["order"], out["order"] / out["dense"]
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    steps = 20 if arguments.quick else arguments.steps
    repeats = 5 if arguments.quick else arguments.repeats
    common = [f"steps={steps}", "validate_every=${steps}", "checkpoint_every=${steps}", "report=null"]
    common += [f"trainer.accelerator={arguments.device.replace('cuda', 'gpu')}"]
    bidirectional = ["objective=order", "denoiser=bidirectional"]
    half = [f"data.batch_size={ROWS // 2}"]
    cases: dict[str, tuple[str, list[str], list[str], bool]] = {
        "nae, uniform orders": (
            "nae_learned_order",
            ["schedule=linear", "objective.draws=1"],
            ["schedule=linear", "objective.draws=1"],
            False,
        ),
        "nae, own learned law": ("nae_learned_order", half, [], True),
    }
    if arguments.text8:
        text = [f"data.path={Path(arguments.text8).resolve()}", "schedule=linear", "objective.draws=1"]
        cases["text8, 32 characters, uniform orders"] = ("text8_learned_order_cpu", text, text, False)
    runs = {}
    for i, (experiment, both, causal, _) in enumerate(cases.values()):
        runs[f"{i}_bidirectional"] = (experiment, [*bidirectional, *both, *common])
        runs[f"{i}_causal"] = (experiment, [*causal, *common])
    run_all(runs, arguments.work, arguments.jobs)
    torch.set_num_threads(1)
    results = []
    for i, (name, (*_, own_law)) in enumerate(cases.items()):
        folder = Path(arguments.work)
        result = measure(folder / f"{i}_bidirectional", folder / f"{i}_causal", own_law, repeats)
        results.append(result | {"rows": ROWS, "on": f"{name}, after {steps} steps"})
    return results[0] | {"cases": results}
