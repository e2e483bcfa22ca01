"""Tells an order law that has become sharp by accident from one that has learned an order."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch

from ordo.objectives.base import is_learned
from ordo.progress import note
from ordo.randomness import seeded_generator
from ordo.settings import Count, Part, Share, checked

MEND = (
    "raise optimizer.schedule_delay, lower optimizer.schedule_lr (and base_lr), "
    "set optimizer.entropy_bonus, or hold the law back"
)
DRAWS = 256  # orders of a look, of evenly spaced validation sequences
MARGIN = 1.005  # validation NELBOs are estimates


@checked
class CollapseAlarm(L.Callback):
    """Warns once, in one line, when the order law has collapsed; resumes with the run.

    The law is *sharp* where less than ``sharp`` of the entropy of random orders, log n! of n tokens
    to decode, is left: of a law that depends on the tokens the mean entropy given the sequence. A
    learned law may end sharp, and many good ones do. It counts as collapsed if

    * it is sharp before ``early`` of all steps, and was not at the start: the denoiser knows too
      little by then to say which orders are good; or
    * it is sharp at a validation, and ``val/nelbo``, which is under the law itself, has never since
      it is sharp been as low as the best of ``val/nelbo`` and ``val/nelbo_uniform`` when it was
      soft (half a percent is let pass): sharpening has cost likelihood, and one that learns gains
      by it. The denoiser trains on, so this verdict is taken back if a later validation falls to
      that value.

    What it cannot see is a law that sharpened later, and gained by it, but less than by another
    order: for that compare seeds. Training data that are learned by heart are no collapse.

    Logs ``val/order_choices``, exp(entropy / n): how many positions there are to choose from at a
    step, effectively; 1 for one order. Looks at every validation, and every ``every`` steps while
    it is early. Does nothing where the law does not learn or its entropy has no closed form.
    """

    def __init__(self, sharp: Part = 0.05, early: Share = 0.05, every: Count = 25):
        self.sharp, self.early, self.every = sharp, early, every
        self.share: float | None = None  # of the entropy, at the last look
        self.soft = math.inf  # the best NELBO of a soft law, nats a sequence
        self.best = math.inf  # the best since it is sharp
        self.too_early, self.worse, self.warned = False, False, False
        self.began_sharp = False  # made so, see ``FreeTable``

    @property
    def collapsed(self) -> bool | None:
        """The verdict so far; None: no look was taken, as the law does not learn or has no entropy
        in closed form.
        """
        return None if self.share is None else self.too_early or self.worse

    def state_dict(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in ("share", "soft", "best", "too_early", "worse", "warned", "began_sharp")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    @torch.no_grad()
    def _look(self, trainer: L.Trainer, module: Any) -> float | None:
        """Effective choices a step; None: there is no law to look at. Of what is given or padded no
        choice is counted.
        """
        schedule, device = module.schedule, module.device
        if not is_learned(schedule):
            return None
        rows = trainer.datamodule.val_set  # type: ignore[attr-defined]
        batch = rows.batch(
            torch.linspace(0, len(rows) - 1, DRAWS, dtype=torch.float64).round().long()
        )
        batch = batch.to(device)
        training = schedule.training
        schedule.eval()
        law: Any = schedule.law(batch)
        schedule.train(training)
        if not hasattr(law, "step_log_prob"):
            return None
        generator = seeded_generator(device, module.seed, trainer.global_step, -9)
        u = torch.rand(batch.tokens.shape, dtype=torch.float64, generator=generator, device=device)
        entropy = float(-law.draw(u.clamp(1e-12, 1 - 1e-12), batch).score.sum(-1).mean())
        decoded = batch.decoded.sum(1).double()
        most = float(torch.lgamma(decoded + 1).mean())
        if most == 0:  # one token to decode
            return None
        self.share = entropy / most
        return math.exp(entropy / float(decoded.mean()))

    @staticmethod
    def _bounds(module: Any) -> str:
        """The settings of this schedule that hold a law back."""
        there = [
            f"schedule.{name}"
            for name in ("bound", "bounds", "floor")
            if hasattr(module.schedule, name)
        ]
        return f" ({', '.join(there)})" if there else ""

    def _warn(self, trainer: L.Trainer, module: Any, why: str) -> None:
        if not self.warned and trainer.is_global_zero:
            note(
                f"warning: the order law has collapsed: at step {trainer.global_step} {why}; "
                f"{MEND}{self._bounds(module)}"
            )
        self.warned = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if (
            trainer.global_step == 0
            and self.early
            and self._look(trainer, pl_module) is not None
            and self.share is not None
        ):
            self.began_sharp = self.share < self.sharp

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if (
            self.too_early
            or self.began_sharp
            or step % self.every
            or step >= self.early * trainer.max_steps
        ):
            return
        if (
            self._look(trainer, pl_module) is not None
            and self.share is not None
            and self.share < self.sharp
        ):
            self.too_early = True
            left = f"{100 * self.share:.1f}% of the entropy of random orders is left"
            self._warn(
                trainer,
                pl_module,
                f"of {trainer.max_steps} only {left}, before the denoiser can know which orders "
                "are good",
            )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # The end of the epoch, not of validation: averaged weights (EMA) are still in place, and it
        # can be logged.
        if trainer.sanity_checking:
            return
        choices = self._look(trainer, pl_module)
        if choices is not None:
            pl_module.log("val/order_choices", choices, sync_dist=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        if trainer.sanity_checking or self.share is None or "val/nelbo" not in metrics:
            return
        own, uniform = (
            float(metrics["val/nelbo"]),
            float(metrics.get("val/nelbo_uniform", math.inf)),
        )
        if self.share >= self.sharp:
            self.soft, self.best, self.worse = min(self.soft, own, uniform), math.inf, False
            return
        self.best = min(self.best, own)
        self.worse = self.best > MARGIN * self.soft
        if self.worse:
            why = (
                f"only {100 * self.share:.1f}% of the entropy of random orders is left, "
                f"and val/nelbo is {own:.4g}"
            )
            self._warn(
                trainer, pl_module, f"{why}, when {self.soft:.4g} had been reached with a soft law"
            )
