"""The one LightningModule: denoiser, schedule and objective trained together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.errors import UserError
from ordo.likelihood import nelbo, nelbo_in_steps, order_log_prob, steps_log_prob
from ordo.objectives import Objective
from ordo.order import uniform_law
from ordo.randomness import StepRandom, seeded_generator
from ordo.schedules import Linear, Schedule, attach_features
from ordo.training.diagnostics import Speed, peak_memory
from ordo.training.older import renewed
from ordo.training.optimisation import (
    OptimizerSettings,
    apply_settings,
    build_optimizer,
    check_law,
    clip_gradients,
    gradient_norms,
    learning_rates,
    with_entropy_bonus,
)
from ordo.training.sharding import shard
from ordo.training.trainer import data_of

# A step that no training run reaches: validation draws never coincide with training draws.
VALIDATION = 1 << 40


class TrainingDiverged(UserError, RuntimeError):
    """The loss is NaN or infinite."""


class OrderDiffusion(L.LightningModule):
    """Trains (denoiser, schedule) on an objective.

    The module logs ``train/nelbo`` (nats per sequence; never the surrogate) and
    ``train/bits_per_token``, ``train/order_entropy`` (nats), ``val/nelbo`` (under the own law) and
    ``val/nelbo_uniform``, in nats per sequence, ``val/bits_per_token``, and ``val/mode`` (exact
    -log p in the law's ``mode``) where one call gives that value.

    In the steps that reach a logger the module logs besides: ``train/lr``, ``train/schedule_lr``
    and ``train/base_lr``, the rates of the step; ``train/gradient_norm``,
    ``train/schedule_gradient_norm`` and ``train/base_gradient_norm``, before clipping;
    ``train/tokens_per_second``, of all processes, without validations, since the last such step;
    and ``train/peak_memory_gib``, of the first process (see ``peak_memory``).

    Args:
        objective, optimizer: None for a model that is only evaluated.
        config: plain values, which every checkpoint holds; ``ordo.runs.load`` rebuilds the model
            from these.
    """

    def __init__(
        self,
        denoiser: Any,
        schedule: Schedule,
        objective: Objective | None = None,
        optimizer: OptimizerSettings | None = None,
        seed: int = 0,
        validation_draws: int = 2,
        config: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.denoiser = denoiser
        self.objective: Any = objective
        self.schedule: Any = schedule
        self.settings: Any = optimizer
        self.seed, self.validation_draws = seed, validation_draws
        self.config = config or {}
        self._bad: Tensor | None = None
        self._speed = Speed()
        # True where the denoiser is divided among ranks: then all ranks call it, or none does.
        self.sharded = False
        if optimizer is not None:
            check_law(schedule, optimizer)
        trained = getattr(objective, "calls", None)
        if objective is not None and schedule.calls not in (None, trained):
            raise ValueError(
                f"the schedule is made for {schedule.calls} denoiser calls, and the objective "
                f"trains for {'one token a call' if trained is None else trained}: set "
                f"calls={schedule.calls}"
            )
        attach_features(schedule, denoiser)

    @property
    def calls(self) -> int | None:
        """K of a model that decodes in K denoiser calls; None: one token a call."""
        said = self.config.get("calls") or getattr(self.objective, "calls", None)
        return said or self.schedule.calls

    def configure_model(self) -> None:
        if self.device_mesh is not None and not self.sharded:
            shard(self.denoiser, self.schedule, self.device_mesh["data_parallel"])
            self.sharded = True

    def on_train_start(self) -> None:
        self._speed = Speed()
        if self.trainer.global_step > 0:
            scheduler: Any = self.lr_schedulers()
            fresh = build_optimizer(self.denoiser, self.schedule, self.settings)
            apply_settings(scheduler.optimizer, scheduler, fresh)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = Batch.of(batch)
        tokens = batch.tokens
        trainer = self.trainer
        random = StepRandom(
            self.seed,
            trainer.global_step,
            # Ranks share out the rows of each micro-batch: so numbered, a row has the same number
            # whatever their number.
            trainer.global_rank * trainer.accumulate_grad_batches
            + batch_idx % trainer.accumulate_grad_batches,
            trainer.accumulate_grad_batches * trainer.world_size,
        )
        # Dropout draws from the global generator, which no checkpoint holds.
        torch.manual_seed(
            seeded_generator(
                "cpu", self.seed, trainer.global_step, random.shard + 1, -6
            ).initial_seed()
        )
        out = self.objective(self.denoiser, self.schedule, batch, random)
        loss = with_entropy_bonus(
            out.loss, self.schedule, self.settings, self.seed, trainer.global_step, batch
        )
        self._watch(loss)
        self._speed.count(batch)
        values = {"bits_per_token": self._bits(out.nelbo, batch), "nelbo": out.nelbo.mean()}
        for name, value in (values | out.diagnostics).items():
            self.log(
                f"train/{name}",
                value,
                prog_bar=name in values,
                batch_size=tokens.shape[0],
                sync_dist=trainer.world_size > 1,
            )
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        # Lightning calls this once an optimiser step: gradients are summed, averaged over ranks and
        # unscaled, and not yet clipped.
        trainer: Any = self.trainer
        every = trainer.log_every_n_steps
        if not trainer.loggers or not every or (trainer.global_step + 1) % every:
            return
        values: dict[str, Any] = {
            "tokens_per_second": self._speed.rate() * trainer.world_size,
            "peak_memory_gib": peak_memory(self.device),
        }
        for name, rate in learning_rates(optimizer, self.schedule).items():
            values[f"{name}_lr"] = rate
        for name, norm in gradient_norms(self.denoiser, self.schedule).items():
            values[f"{name}_gradient_norm"] = norm
        for name, value in values.items():
            self.log(f"train/{name.removeprefix('denoiser_')}", value)

    def _watch(self, loss: Tensor) -> None:
        """Notes a loss that is not finite.

        Looks at once on the CPU, elsewhere every 50 steps, because a look waits for the device.
        """
        bad = ~torch.isfinite(loss.detach())
        self._bad = bad if self._bad is None else self._bad | bad
        if bad.device.type == "cpu" or self.trainer.global_step % 50 == 0:
            self.check_finite()

    def check_finite(self) -> None:
        """Raises TrainingDiverged if any loss since the last look was not finite."""
        if self._bad is not None and bool(self._bad):
            raise self.diverged("the loss")

    def check_weights(self) -> None:
        """Raises TrainingDiverged if a parameter is not finite."""
        for name, parameter in self.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise self.diverged(f"parameter {name}")

    def diverged(self, what: str) -> TrainingDiverged:
        """The error to raise, which names the step and the last good checkpoint."""
        folders = [
            Path(folder)
            for c in self.trainer.checkpoint_callbacks
            if (folder := getattr(c, "dirpath", None))
        ]
        kept = next((folder for folder in folders if (folder / "last.ckpt").is_file()), None)
        where = (
            f"the last good checkpoint is in {kept} (resume={kept})"
            if kept
            else "no checkpoint had been written yet"
        )
        return TrainingDiverged(
            f"{what} became NaN or infinite at or before step {self.trainer.global_step}; training "
            f"stopped, {where}. Lower optimizer.lr or optimizer.schedule_lr (and base_lr), bound "
            "log w (schedule.bound), or raise objective.t_min."
        )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        clip_gradients(self.denoiser, self.schedule, self.settings)

    def configure_optimizers(self) -> Any:
        # With float16 a fused step takes gradients that are still scaled, and would clip them so.
        fused = self.trainer.precision != "16-mixed"
        optimizer, scheduler = build_optimizer(self.denoiser, self.schedule, self.settings, fused)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @staticmethod
    def _bits(nats: Tensor, batch: Batch) -> Tensor:
        """Bits per decoded token; nats: of each sequence, (batch,)."""
        return nats.mean() / (batch.decoded.sum(1).double().mean().clamp(min=1.0) * math.log(2))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = Batch.of(batch)
        draws, length = self.validation_draws, batch.tokens.shape[1]
        random = StepRandom(
            self.seed, VALIDATION + batch_idx, self.trainer.global_rank, self.trainer.world_size
        )
        uniform_orders = uniform_law(length, batch.tokens.device)
        if self.calls is None:
            own = nelbo(self.denoiser, self.schedule, batch, draws, random)
            uniform = nelbo(self.denoiser, uniform_orders, batch, draws, random)
        else:
            equal = Linear(length).to(batch.tokens.device)
            own, uniform = (
                nelbo_in_steps(self.denoiser, each, batch, self.calls, draws, random)
                for each in (self.schedule, equal)
            )
        values = {
            "nelbo": own.mean(),
            "nelbo_uniform": uniform.mean(),
            "bits_per_token": self._bits(own, batch),
        }
        if self.denoiser.order_causal and not self.schedule.depends_on_tokens:
            if self.calls is None:
                log_p = order_log_prob(self.denoiser, batch, self.schedule.law().mode())
            else:
                log_p = steps_log_prob(self.denoiser, batch, self.schedule.steps(self.calls).mode())
            values["mode"] = -log_p.mean()
        for name, value in values.items():
            show = name == "bits_per_token"
            self.log(
                f"val/{name}",
                value.float(),
                prog_bar=show,
                batch_size=len(batch.tokens),
                sync_dist=True,
            )

    def on_validation_start(self) -> None:
        self._speed.pause()
        self.check_finite()

    def on_validation_end(self) -> None:
        self._speed.go_on()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for key in ("state_dict", "current_model_state"):
            if key in checkpoint:
                checkpoint[key] = renewed(checkpoint[key], self.state_dict())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.check_finite()
        self.check_weights()  # the loss of this step knew only the weights of the step before
        sampler = getattr(data_of(self.trainer), "train_sampler", None)
        batches = dict(sampler(0, self.trainer.world_size).identity) if sampler else None
        checkpoint["ordo"] = {"format": 1, "config": self.config, "batches": batches}
