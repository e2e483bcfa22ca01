"""How many held-out tasks a trained model solves, by sampler: paths in star graphs, Sudokus."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ordo.progress import track
from ordo.samplers import Sampler, Trace, sample_batches
from ordo.schedules import Linear


@dataclass(frozen=True)
class Solved:
    """What one sampler made of the tasks.

    Args:
        rate: share of the tasks whose every token is right.
        error: binomial standard error of ``rate``.
        tokens_right: share of the decoded tokens that are right.
        seconds: seconds that decoding took.
    """

    trace: Trace
    rate: float
    error: float
    tokens_right: float
    seconds: float


def solve(
    module: Any,
    samplers: Mapping[str, tuple[Sampler, bool]],
    tasks: tuple[Tensor, Tensor],
    seed: int,
    title: str,
) -> Iterator[tuple[str, Solved]]:
    """Every sampler on the same tasks.

    Args:
        module: a trained model, on its device.
        samplers: name -> sampler, and whether it decodes by the model's own law of orders; if not,
            orders are uniformly random.
        tasks: right tokens and mask of the given ones, both (tasks, length).
    """
    tokens, known = tasks
    linear = Linear(tokens.shape[1]).to(module.denoiser.device)
    for name, (sampler, own) in track(samplers.items(), title):
        begun = time.perf_counter()
        given = {"given": tokens, "known": known, "schedule": module.schedule if own else linear}
        trace = sample_batches(module.denoiser, sampler, len(tokens), 250, seed=seed, **given)
        seconds = time.perf_counter() - begun
        right = trace.tokens == tokens
        rate = right.all(1).double().mean().item()
        error = (rate * (1 - rate) / len(tokens)) ** 0.5
        yield name, Solved(trace, rate, error, right[~known].double().mean().item(), seconds)
