"""Steps learned for K denoiser calls, with exact posteriors: does a table find bisection?

The law is the Markov chain of 64 bits with flip 0.1 of the study ``oracle``; the denoiser knows its
posteriors exactly, and alone the steps are learned: objective order with calls=K, from equal
probabilities. ``kl`` is KL(law || sampler) in nats, E[log p(x) - log q(x)] over the same test
sequences, exact in q; the learned sampler decodes every position in its most probable step.
``by_hand``: the same of steps that are given. ``random``: random orders in the step sizes that are
best for them.
"""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.oracle import given_orders, information_profile, make_oracle, mean_and_error
from ordo.denoisers import ChainOracle
from ordo.likelihood import steps_log_prob
from ordo.likelihood.starts import blocks, coarse_to_fine, streams
from ordo.objectives import OrderSpace, ScoreFunction
from ordo.progress import note
from ordo.samplers import ByOrder, InSteps, Sampler, best_sizes, sample
from ordo.schedules import StepTable
from ordo.training import OptimizerSettings, train_steps

OPTIONS = {
    "calls": ([4, 5, 6, 7, 8, 12, 16], "denoiser calls a sequence"),
    "seeds": (3, "seeds 0, 1, ... of the learned steps"),
    "steps": (3000, "training steps"),
    "rows": (448, "denoiser rows a step"),
    "lr": (0.1, "of the table", {"type": float}),
    "test": (2000, "sequences that are scored"),
}


def learned(oracle: ChainOracle, calls: int, seed: int, a: Namespace) -> Tensor:
    """The most probable step of every position after training, (length,)."""
    table = StepTable(oracle.length, calls)
    objective = OrderSpace(1, score=ScoreFunction("learned"), calls=calls)
    settings = OptimizerSettings(
        a.steps, schedule_lr=a.lr, schedule_delay=0, warmup_steps=1, schedule_final=0.05
    )
    train_steps(oracle, table, objective, bits(a.rows, oracle.length, seed), settings, seed).run()
    return table.steps(calls).mode()


def bits(rows: int, length: int, seed: int) -> Iterator[Tensor]:
    """Sequences of the chain without end, (rows, length) each."""
    random = torch.Generator().manual_seed(seed)
    while True:
        flips = torch.rand(rows, length, generator=random) < 0.1
        flips[:, 0] = torch.rand(rows, generator=random) < 0.5
        yield flips.long().cumsum(1) % 2


def run(a: Namespace) -> dict[str, Any]:
    if a.quick:
        a.calls, a.seeds, a.steps, a.rows, a.test = [4], 1, 3, 8, 20
    torch.set_num_threads(1)
    oracle = make_oracle("chain")
    length = oracle.length
    test = sample(oracle, Sampler(ByOrder()), a.test, seed=99).tokens
    log_p = oracle.log_law(test)
    profile = information_profile(oracle, test, 0)
    ahead = torch.arange(length)
    out: dict[str, Any] = {}
    for calls in a.calls:
        sizes = best_sizes(profile, calls)
        random = log_p - given_orders(oracle, test, sizes, min(50, a.test), 0)
        by_hand = {
            "contiguous": blocks(ahead, InSteps(calls).sizes(length)),
            "streams": streams(ahead, calls),
            "bisection": coarse_to_fine(length, calls),
        }
        kl = {
            name: mean_and_error(log_p - steps_log_prob(oracle, test, steps))
            for name, steps in by_hand.items()
        }
        runs = []
        for seed in range(a.seeds):
            steps = learned(oracle, calls, seed, a)
            found = mean_and_error(log_p - steps_log_prob(oracle, test, steps))
            runs.append(found | {"sizes": steps.bincount(minlength=calls).tolist()})
            note(f"{calls} calls, seed {seed}: {found['mean']:.4f} nats")
        out[str(calls)] = {"random": mean_and_error(random), "by_hand": kl, "learned": runs}
    return {"calls": out, "settings": {k: getattr(a, k) for k in ("steps", "rows", "lr", "test")}}
