"""Optimiser settings: AdamW with one group for the denoiser and one for the schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.objectives.base import is_learned
from ordo.order import PlackettLuce, entropy_surrogate
from ordo.randomness import seeded_generator
from ordo.schedules import Schedule
from ordo.settings import BelowOne, Count, NonNegative, Positive, Whole, checked

ENTROPY_ORDERS = 64  # of one step's estimate of the entropy's gradient, at least


@checked
@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW for denoiser and schedule; the schedule waits, then learns at a rate of its own.

    Args:
        lr, betas, weight_decay: of the denoiser; only matrices decay.
        warmup_steps: linear to lr, then cosine to final_lr * lr at total_steps.
        schedule_lr, schedule_betas: of the schedule, which does not decay.
        base_lr: learning rate of ``schedule.base``; None: schedule_lr. Per-position parameters need
            a larger rate than token networks.
        schedule_delay: steps in which the order law does not move, because the denoiser still knows
            nothing.
        schedule_ramp: steps from there to the full rate.
        schedule_final: factor that the schedule's rate reaches, by cosine, at total_steps.
        clip, schedule_clip: largest gradient norm of denoiser and schedule; a schedule's base has a
            norm of its own. None: no limit.
        entropy_bonus: nats of loss per nat of order entropy (per sequence) at the start, annealed
            linearly to 0 at entropy_steps.
    """

    total_steps: Count
    lr: Positive = 2e-3
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0
    warmup_steps: Whole = 100
    final_lr: NonNegative = 0.02
    schedule_lr: Positive = 0.05
    base_lr: Positive | None = None
    schedule_betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    schedule_delay: Whole = 100
    schedule_ramp: Whole = 0
    schedule_final: NonNegative = 1.0
    clip: Positive | None = 1.0
    schedule_clip: Positive | None = 1.0
    entropy_bonus: NonNegative = 0.0
    entropy_steps: Whole = 0

    def __post_init__(self) -> None:
        if self.entropy_bonus and self.entropy_steps < 1:
            raise ValueError(
                "optimizer.entropy_bonus needs optimizer.entropy_steps > 0, "
                "over which it is annealed to 0"
            )

    def denoiser_factor(self, step: int) -> float:
        """Learning rate of the denoiser at a step, relative to lr."""
        progress = min(step / self.total_steps, 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return min(1.0, (step + 1) / max(self.warmup_steps, 1)) * (
            self.final_lr + (1 - self.final_lr) * cosine
        )

    def schedule_factor(self, step: int) -> float:
        """Learning rate of the schedule at a step, relative to schedule_lr; 0 during the delay."""
        if step < self.schedule_delay:
            return 0.0
        ramp = min(1.0, (step - self.schedule_delay + 1) / max(self.schedule_ramp, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / self.total_steps, 1.0)))
        return ramp * (self.schedule_final + (1 - self.schedule_final) * cosine)

    def entropy_weight(self, step: int) -> float:
        """Weight of the entropy bonus at a step."""
        return (
            self.entropy_bonus * max(0.0, 1 - step / self.entropy_steps)
            if self.entropy_bonus
            else 0.0
        )


def check_law(schedule: Schedule, settings: OptimizerSettings) -> None:
    """Raises ValueError for settings that have no effect with such a law, or cannot be had."""
    in_closed_form = schedule.depends_on_tokens or hasattr(schedule.law(), "step_log_prob")
    in_closed_form = in_closed_form or schedule.calls is not None
    if settings.entropy_bonus and not in_closed_form:
        name = type(schedule).__name__
        raise ValueError(
            "optimizer.entropy_bonus needs an order law in closed form, "
            f"which {name} has not; set it to 0"
        )
    if settings.base_lr is not None and not split_base(schedule)[1]:
        raise ValueError(
            "optimizer.base_lr is the rate of schedule.base, a law of positions that is learned, "
            "and there is none; set it to null"
        )


def split_base(schedule: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Learned parameters of a schedule, and apart those of its base (empty without a base)."""
    base = getattr(schedule, "base", None)
    of_base = (
        [p for p in base.parameters() if p.requires_grad] if isinstance(base, nn.Module) else []
    )
    known = {id(p) for p in of_base}
    return [p for p in schedule.parameters() if p.requires_grad and id(p) not in known], of_base


def parts(denoiser: nn.Module, schedule: nn.Module) -> dict[str, list[nn.Parameter]]:
    """What has a gradient norm of its own: denoiser, schedule, and the base of the schedule."""
    networks, base = split_base(schedule)
    return {"denoiser": list(denoiser.parameters()), "schedule": networks, "base": base}


def build_optimizer(
    denoiser: nn.Module, schedule: nn.Module, settings: OptimizerSettings, fused: bool = True
):
    """AdamW, and a LambdaLR that is stepped once an optimiser step.

    Groups: matrices of the denoiser; its vectors and embeddings; the schedule if it learns; the
    base of the schedule if there is one.
    """
    matrices, others = [], []
    embeddings = {
        id(p) for m in denoiser.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
    }
    for parameter in denoiser.parameters():
        (others if parameter.ndim < 2 or id(parameter) in embeddings else matrices).append(
            parameter
        )
    groups = [
        {
            "params": matrices,
            "lr": settings.lr,
            "weight_decay": settings.weight_decay,
            "betas": tuple(settings.betas),
        },
        {"params": others, "lr": settings.lr, "weight_decay": 0.0, "betas": tuple(settings.betas)},
    ]
    factors = [settings.denoiser_factor, settings.denoiser_factor]
    networks, base = split_base(schedule)
    for learned, rate in (
        (networks, settings.schedule_lr),
        (base, settings.base_lr or settings.schedule_lr),
    ):
        if learned:
            groups.append(
                {
                    "params": learned,
                    "lr": rate,
                    "weight_decay": 0.0,
                    "betas": tuple(settings.schedule_betas),
                }
            )
            factors.append(settings.schedule_factor)
    optimizer = torch.optim.AdamW(groups, fused=fused)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factors)


def with_entropy_bonus(
    loss: Tensor,
    schedule: Schedule,
    settings: OptimizerSettings,
    seed: int,
    step: int,
    batch: Batch,
) -> Tensor:
    """The loss (nats per position) less the entropy of a learned order law, in its weight at the
    step; of a schedule for K calls the entropy of the steps; of a law that depends on the tokens
    the mean of its entropies given the sequences of the batch. Given positions and padding have no
    order.
    """
    weight = settings.entropy_weight(step)
    if not weight or not is_learned(schedule):
        return loss
    if schedule.calls is not None:  # the entropy of the steps, exactly
        entropy = schedule.steps(schedule.calls).entropy()
        entropy = torch.where(batch.decoded, entropy, 0.0).sum(1).mean()
        return loss - weight / schedule.length * entropy
    generator = seeded_generator(loss.device, seed, step, -1)
    repeats = -(-ENTROPY_ORDERS // len(batch.tokens))
    many, law = batch.repeat(repeats), schedule.law(batch).repeat(repeats)
    if not schedule.depends_on_tokens:
        many = many.rows(slice(ENTROPY_ORDERS))
    law = cast(PlackettLuce, law)  # ``check_law`` refuses other laws
    entropy = entropy_surrogate(law, len(many.tokens), generator, many)
    return loss - weight / schedule.length * entropy


def clip_gradients(denoiser: nn.Module, schedule: nn.Module, settings: OptimizerSettings) -> None:
    """Clips the gradients of denoiser, schedule and base, each by a norm of its own.

    The schedule's score gradients are noisy and must not shrink the step of the denoiser. Nor must
    the gradients of a few per-position parameters shrink the step of token networks.
    """
    for name, parameters in parts(denoiser, schedule).items():
        limit = settings.clip if name == "denoiser" else settings.schedule_clip
        moved = [p for p in parameters if p.grad is not None]
        if limit is not None and moved:
            nn.utils.clip_grad_norm_(moved, limit)


def gradient_norms(denoiser: nn.Module, schedule: nn.Module) -> dict[str, Tensor]:
    """Euclidean norms of the gradients as they are now, scalars, by the names of ``parts``.

    A part without a gradient is left out. Where the denoiser is divided among ranks, all ranks call
    this function together.
    """
    out = {}
    for name, parameters in parts(denoiser, schedule).items():
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            norm: Any = nn.utils.get_total_norm(gradients)
            out[name] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return out


def learning_rates(optimizer: torch.optim.Optimizer, schedule: nn.Module) -> dict[str, float]:
    """The rates of the step at hand, by the names of ``parts``, of an optimiser that
    ``build_optimizer`` made. A part that does not learn is left out.
    """
    networks, base = split_base(schedule)
    learned = [name for name, found in (("schedule", networks), ("base", base)) if found]
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return {"denoiser": rates[0]} | dict(zip(learned, rates[2:], strict=True))


def apply_settings(
    optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LambdaLR, fresh: tuple
) -> None:
    """Takes over rates, decay and betas of ``fresh``, which ``build_optimizer`` made.

    Moments and step counts stay. Without this a restored optimiser would keep the rates of the
    checkpoint, and a lower rate given on resuming would do nothing.
    """
    new, new_scheduler = fresh
    scheduler.base_lrs = new_scheduler.base_lrs
    for group, wanted, factor in zip(
        optimizer.param_groups, new.param_groups, new_scheduler.lr_lambdas, strict=True
    ):
        group |= {name: wanted[name] for name in ("initial_lr", "weight_decay", "betas")}
        group["lr"] = wanted["initial_lr"] * factor(scheduler.last_epoch)
