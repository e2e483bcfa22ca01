"""What every objective takes and returns, and the leave-one-out advantage they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.errors import UserError
from ordo.randomness import StepRandom


class LawTooSharp(UserError, ValueError):
    """The order law has become so sharp that an estimator would hardly ever see some positions."""


@dataclass
class ObjectiveOutput:
    """What an objective says of a batch of n sequences.

    Args:
        loss: scalar *surrogate* to differentiate, nats per position. Its value is not the NELBO and
            must not be reported as one.
        nelbo: (n,) nats per sequence, detached, an unbiased estimate under the schedule's own order
            law.
        by_position: (n, length) nats, detached, what each position contributed; sums to ``nelbo``.
        rows: denoiser rows spent (sequences through the network, once each).
        diagnostics: scalars worth logging.
    """

    loss: Tensor
    nelbo: Tensor
    by_position: Tensor
    rows: int
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """One estimator of the NELBO and of its gradients."""

    def __call__(
        self, denoiser: nn.Module, schedule: nn.Module, batch: Batch | Tensor, random: StepRandom
    ) -> ObjectiveOutput: ...


def is_learned(schedule: nn.Module) -> bool:
    """True if the schedule has parameters that want a gradient."""
    return any(p.requires_grad for p in schedule.parameters())


def leave_one_out(f: Tensor) -> Tensor:
    """f (draws, ...) minus the mean of the other draws (RLOO; Kool et al. 2019), detached."""
    f = f.detach()
    k = f.shape[0]
    return (f - f.mean(0)) * (k / (k - 1))


def n_ranks() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_ranks(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one dtype averaged over the processes that train together, in one call."""
    if n_ranks() == 1:
        return list(tensors)
    joined = torch.cat([x.flatten() for x in tensors])
    dist.all_reduce(joined)
    parts = (joined / n_ranks()).split([x.numel() for x in tensors])
    return [part.view_as(x) for part, x in zip(parts, tensors, strict=True)]


def check_draws(draws: int, least: int, what: str) -> None:
    if draws < least:
        raise ValueError(f"{what} needs draws >= {least}, got draws={draws}")
