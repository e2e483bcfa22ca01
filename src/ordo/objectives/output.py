"""What every objective returns, and the leave-one-out advantage they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ordo.order import not_decoded, there
from ordo.randomness import StepRandom


class LawTooSharp(ValueError):
    """The order law has become so sharp that an estimator would hardly ever see some positions."""


@dataclass
class ObjectiveOutput:
    """loss: scalar *surrogate* to differentiate, nats per position; its value is not the NELBO and must not be reported as one.

    nelbo: (batch,) nats per sequence, detached, an unbiased estimate under the schedule's own order law.
    by_position: (batch, length) nats, detached; what each position contributed; sums to ``nelbo``.
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

    draws: int

    def __call__(
        self,
        denoiser: nn.Module,
        schedule: nn.Module,
        tokens: Tensor,
        random: StepRandom,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
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


@torch.no_grad()
def count_tokens(counts: Tensor, tokens: Tensor, there: Tensor) -> None:
    """Adds tokens (batch, length) of all ranks to counts (length, vocab), those where there (batch, length) bool."""
    (seen,) = mean_over_ranks(
        torch.zeros_like(counts).scatter_add_(1, tokens.T, there.T.to(counts.dtype))
    )
    counts += seen * n_ranks()


@torch.no_grad()
def surprise(counts: Tensor, tokens: Tensor, there: Tensor) -> Tensor:
    """-log of the counted frequency of each token at its position (batch, length), nats, add-one smoothed; 0 where not there."""
    p = (counts + 1) / (counts.sum(-1, keepdim=True) + counts.shape[1])
    return -p.log().gather(1, tokens.T).T * there


def prefix_sizes(
    spread: Tensor, known: Tensor | None, lengths: Tensor | None, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """How many positions of a row are given, how many are decoded, and how many are revealed in all, (rows,) int64 each; spread (rows,) in
    [0, 1) says how far decoding has come. known (rows, length) bool, lengths (rows,).
    """
    known, fixed = there(known, lengths), not_decoded(known, lengths, length)
    none = torch.zeros_like(spread, dtype=torch.int64)
    n_known = none if known is None else known.sum(1)
    unknown = length - (none if fixed is None else fixed.sum(1))
    return (
        n_known,
        unknown,
        n_known + torch.minimum((spread * unknown).long(), (unknown - 1).clamp(min=0)),
    )


def check_draws(draws: int, least: int, what: str) -> None:
    if draws < least:
        raise ValueError(f"{what} needs draws >= {least}, got draws={draws}")
