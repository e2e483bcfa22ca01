"""Does training find an order? Latents and observations, nats above the exact entropy.

The data are 28 shuffled columns. Every run has 256 denoiser rows a step, 3000 steps, and 2 layers
of width 64. ``fixed`` trains the dense objective on uniformly random orders; ``time``, ``order``
and ``dense`` learn a free table of log w. The own NELBO and the exact score along the mode order
are of the same 1024 test sequences. ``exchangeable`` is the control: 16 bits of even parity, where
no order is better, so that own and uniform NELBO must agree.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Run, Runs, Study, numbers, objective, words
from ordo.likelihood import nelbo, order_log_prob
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.runs.stored import load, load_data

# Gradients of time and order space are noisier than dense ones: a smaller step for the law.
NOISIER = "denoiser=bidirectional optimizer.schedule_lr=0.05"
KINDS = {
    "fixed": f"schedule=linear {objective('dense')} data.batch_size=256",
    "time": f"{objective('time')} {NOISIER} schedule.bound=4",
    "order": f"{objective('order')} {NOISIER} objective.draws=2 objective.score.baseline=rloo",
    "dense": "",
    "exchangeable": "data=exchangeable steps=1000",
}
REPORT = words(
    "report.split=test report.exact_sequences=256 validate_every=1500 checkpoint_every=1500"
)
OPTIONS = numbers(seeds=None, jobs=2)


def folder(kind: str, seed: int, a: Namespace) -> str:
    return f"nae_{kind}_{seed}"


def define(kind: str, seed: int, a: Namespace) -> Run:
    return "nae_learned_order", [*KINDS[kind].split(), *REPORT]


def mean_and_error(values: torch.Tensor) -> tuple[float, float]:
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def mode_above_entropy(folder: Path) -> tuple[float, float]:
    """Exact -log p in the mode order minus the entropy, nats, over the whole test set; its error.

    The second number is the standard error of the first.
    """
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert data.entropy is not None
    log_p = order_log_prob(module.denoiser, data.test_set.tokens, module.schedule.law().mode())
    return mean_and_error(-log_p - data.entropy)


def own_minus_uniform(folder: Path) -> tuple[float, float]:
    """Mean of own minus uniform NELBO, nats, paired over test sequences, and its standard error."""
    module, config = load(folder)
    tokens = load_data(config, folder, as_trained=True).test_set.tokens
    own = nelbo(module.denoiser, module.schedule.law(), tokens, 16, StepRandom(1))
    uniform = nelbo(module.denoiser, uniform_law(tokens.shape[1]), tokens, 16, StepRandom(2))
    return mean_and_error(own - uniform)


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, runs in found.items():
        modes = runs.each(mode_above_entropy, (None, None))
        out[kind] = runs.estimates("nats_above_entropy", own="own_nelbo") | {
            "mode": [value for value, _ in modes],
            "mode_standard_error": [error for _, error in modes],
            "seconds": runs.listed("fit_seconds"),
        }
        if kind == "exchangeable":
            pairs = runs.each(own_minus_uniform, (None, None))
            out[kind]["own_minus_uniform"] = [value for value, _ in pairs]
            out[kind]["standard_error"] = [error for _, error in pairs]
    return out


STUDY = Study(
    folder, KINDS, define, summary, OPTIONS, seeds={"dense": 5, "order": 5, "exchangeable": 5}
)
