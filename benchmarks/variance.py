"""Total variance of the gradient in log w: three estimators at equal denoiser rows.

For each case a bidirectional denoiser (time, order) and an order-causal one (dense) of equal size
are trained on equal rows and steps. They are the runs of the studies nae and text, which are reused
where they are below --work. Then the gradient of the NELBO (nats per sequence) in a free log w is
estimated many times, each time from ``rows`` denoiser rows on fresh sequences, and the variances of
its entries are added up. Cases: NAE under each model's own learned law, text8 under uniform orders.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import nae, text
from benchmarks.common import TEXT8, numbers, run_all, workers
from benchmarks.timing import SPACES
from ordo.order import PlackettLuce
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.stored import load, load_data
from ordo.schedules import FreeTable, Power

ROWS = 256
WARM = 30  # estimates that only fit running means and regressions
CASES = {  # study, bidirectional run, order-causal run, whether each has its own learned law
    "NAE, own learned law of each": ("nae", "order", "dense", True),
    "text8, 32 characters, uniform orders": ("text", "fixed_order", "fixed_dense", False),
}
OPTIONS = {
    "text8": (None, f"{TEXT8[1]}; without it only NAE is measured", TEXT8[2]),
    "repeats": (200, "gradient estimates per figure"),
    **numbers(jobs=2),
}


def total_variance(gradients: list[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
    """The mean gradient, and the variance over estimates, added up over entries, with its error."""
    stacked = torch.stack(gradients)
    n, mean = len(stacked), stacked.mean(0)
    squares = (stacked - mean).square().sum(-1) * n / (n - 1)
    error = (squares.std() / n**0.5).item()
    return mean, {"variance": squares.mean().item(), "standard_error": error}


def endless(data: Any) -> Iterator[torch.Tensor]:
    while True:
        yield from (getattr(batch, "tokens", batch) for batch in data.train_dataloader())


def measure(folder: Path, own_law: bool, repeats: int) -> dict[str, float]:
    """Figures of every objective that fits the denoiser of a run.

    The law is the run's own learned law, or that of uniform orders.
    """
    torch.set_num_threads(1)
    module, config = load(folder)
    # Not the batches it was trained on.
    changes = {"batch_size": ROWS, "seed": config["data"]["seed"] + 1}
    data = load_data(config, folder, changes=changes, as_trained=True)
    law = module.schedule.law()
    table = FreeTable(data.length)
    with torch.no_grad():
        table.table.copy_(law.log_w if own_law and isinstance(law, PlackettLuce) else table.table)
    schedule = Power(data.length, table)
    dense = SPACES["dense"]
    if module.denoiser.order_causal:
        objectives: dict[str, Any] = {
            "dense": dense(data.length),
            "dense_rloo": dense(data.length, 2, "rloo"),
        }
    else:
        objectives = {space: SPACES[space](draws=2) for space in ("time", "order")}
    out = {}
    for name, objective in objectives.items():
        batches, gradients = endless(data), []
        for step in track(range(repeats + WARM), "gradients"):
            tokens = next(batches)[: ROWS // objective.draws]
            loss = objective(module.denoiser, schedule, tokens, StepRandom(seed=1, step=step)).loss
            (gradient,) = torch.autograd.grad(loss * tokens.shape[1], table.table)
            if step >= WARM:
                gradients.append(gradient.double())
        mean, figures = total_variance(gradients)
        out |= {name: figures["variance"], f"{name}_se": figures["standard_error"]}
        out[f"{name}_signal"] = mean.norm().item()
    return out


def run(a: Namespace) -> dict[str, Any]:
    repeats = 5 if a.quick else a.repeats
    studies = {"nae": nae.STUDY} | ({"text": text.STUDY} if a.text8 else {})
    ending = {"nae": "0", "text": "32_0"}
    runs, cases = {}, {}
    for case, (study, *kinds, own_law) in CASES.items():
        if study in studies:
            pair = [f"{study}_{kind}_{ending[study]}" for kind in kinds]
            cases[case] = pair, own_law
            for name, kind in zip(pair, kinds, strict=True):
                runs[name] = studies[study].define_run(kind, 0, a)
    run_all(runs, a.work, a.jobs)
    results = []
    with workers(a.jobs) as pool:
        waiting = [
            [pool.submit(measure, Path(a.work) / name, own_law, repeats) for name in pair]
            for pair, own_law in cases.values()
        ]
        for case, (both, causal) in zip(cases, waiting, strict=True):
            result: dict[str, Any] = both.result() | causal.result()
            for x, y in (("time", "order"), ("order", "dense"), ("time", "dense")):
                result[f"ratio_{x}_to_{y}"] = result[x] / result[y]
            results.append(result | {"rows": ROWS, "on": case})
            note(str(results[-1]))
    return results[0] | {"cases": results}
