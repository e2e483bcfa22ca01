"""What every objective returns, and the leave-one-out advantage they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        self, denoiser: nn.Module, schedule: nn.Module, tokens: Tensor, random: StepRandom, known: Tensor | None = None
    ) -> ObjectiveOutput: ...


def set_cost(denoiser: Any, tokens: Tensor, where: Tensor, target: Tensor) -> Tensor:
    """-log mu of target (where.sum(),) at the positions where (n, length), given partly masked tokens: (n, length) float64, 0 elsewhere."""
    if getattr(denoiser, "scores_targets", False):
        cost = denoiser(tokens, where=where, target=target)
    else:
        cost = F.cross_entropy(denoiser(tokens, where=where), target, reduction="none")
    return scatter(cost.double(), where)


def order_cost(denoiser: Any, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None) -> Tensor:
    """-log mu(x_{pi(i)} | x_{pi(<i)}) by rank, (n, length) float64, of an order-causal denoiser; n_revealed (n,): given only so many of
    the order.
    """
    if getattr(denoiser, "scores_targets", False):
        return denoiser(tokens, order, n_revealed, score=True).double()
    target = tokens.gather(1, order)
    logits = denoiser(tokens, order, n_revealed)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target).double()


def is_learned(schedule: nn.Module) -> bool:
    """True if the schedule has parameters that want a gradient."""
    return any(p.requires_grad for p in schedule.parameters())


def leave_one_out(f: Tensor) -> Tensor:
    """f (draws, ...) minus the mean of the other draws (RLOO; Kool et al. 2019), detached."""
    f = f.detach()
    k = f.shape[0]
    return (f - f.mean(0)) * (k / (k - 1))


def check_draws(draws: int, least: int, what: str) -> None:
    if draws < least:
        raise ValueError(f"{what} needs draws >= {least}, got draws={draws}")


def scatter(values: Tensor, where: Tensor) -> Tensor:
    """values (where.sum(),) into zeros of where's shape, in row-major order."""
    return torch.zeros(where.shape, dtype=values.dtype, device=values.device).masked_scatter(where, values)
