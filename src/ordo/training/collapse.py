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
from ordo.training.module import OrderDiffusion
from ordo.training.trainer import data_of

MEND = (
    "raise optimizer.schedule_delay, lower optimizer.schedule_lr (and base_lr), "
    "set optimizer.entropy_bonus, or hold the law back"
)
STATE = ("share", "soft", "best", "too_early", "worse", "warned", "began_sharp")
DRAWS = 256  # orders of a look, one for each of as many evenly spaced validation sequences
MARGIN = 1.005  # validation NELBOs are estimates


@checked
class CollapseAlarm(L.Callback):
    """Warns once, in one line, when the order law has collapsed; resumes with the run.

    A law is *sharp* when less than the share ``sharp`` of the entropy of random orders is left.
    That entropy is log n! for n tokens to decode. For a law that depends on the tokens, the law's
    entropy is the mean over sequences. A learned law may end sharp, and many good laws do. A law
    counts as collapsed if

    * the law is sharp before the share ``early`` of all steps, and was not sharp at the start: by
      then the denoiser knows too little to tell which orders are good; or
    * the law is sharp at a validation, and since the law is sharp ``val/nelbo``, which is under the
      law itself, was never as low as the best of ``val/nelbo`` and ``val/nelbo_uniform`` while the
      law was soft (half a percent more is let pass). Then sharpening has cost likelihood, whereas a
      law that learns gains likelihood. The denoiser trains on, so this verdict is taken back if a
      later validation reaches that value.

    The callback cannot see a law that sharpened later and gained, but less than another order would
    have gained: compare seeds for that. Training data that are learned by heart are no collapse.

    The callback logs ``val/order_choices``, exp(entropy / n): the effective number of positions to
    choose from at a step, 1 for a single order. It looks at every validation, and every ``every``
    steps during the early share. It does nothing where the law does not learn or where the entropy
    has no closed form.
    """

    def __init__(self, sharp: Part = 0.05, early: Share = 0.05, every: Count = 25):
        self.sharp, self.early, self.every = sharp, early, every
        self.share: float | None = None  # of the entropy of random orders, at the last look
        self.soft = math.inf  # the best NELBO while the law was soft, nats a sequence
        self.best = math.inf  # the best NELBO since the law is sharp
        self.too_early, self.worse, self.warned = False, False, False
        self.began_sharp = False  # a law may be made sharp, see ``FreeTable``

    @property
    def collapsed(self) -> bool | None:
        """The verdict so far; None where the callback does nothing, and before the first look."""
        return None if self.share is None else self.too_early or self.worse

    def state_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    @torch.no_grad()
    def _look(self, trainer: L.Trainer, module: OrderDiffusion) -> float | None:
        """Effective choices a step; None: there is no law to look at.

        Given positions and padding count as no choice.
        """
        schedule, device = module.schedule, module.device
        if not is_learned(schedule):
            return None
        rows = data_of(trainer).val_set
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
    def _bounds(module: OrderDiffusion) -> str:
        """The settings of this schedule that hold a law back."""
        names = ("bound", "bounds", "floor")
        found = [f"schedule.{name}" for name in names if hasattr(module.schedule, name)]
        return f" ({', '.join(found)})" if found else ""

    def _warn(self, trainer: L.Trainer, module: OrderDiffusion, why: str) -> None:
        if not self.warned and trainer.is_global_zero:
            at = f"at step {trainer.global_step} {why}"
            note(f"warning: the order law has collapsed: {at}; {MEND}{self._bounds(module)}")
        self.warned = True

    def _is_sharp(self, trainer: L.Trainer, module: OrderDiffusion) -> bool:
        looked = self._look(trainer, module) is not None
        return looked and self.share is not None and self.share < self.sharp

    def _left(self) -> str:
        return f"only {100 * (self.share or 0.0):.1f}% of the entropy of random orders is left"

    def on_train_start(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        if trainer.global_step == 0 and self.early:
            self.began_sharp = self._is_sharp(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion, *_: object) -> None:
        step = trainer.global_step
        early = step < self.early * trainer.max_steps and not step % self.every
        if self.too_early or self.began_sharp or not early:
            return
        if self._is_sharp(trainer, pl_module):
            self.too_early = True
            when = "before the denoiser can know which orders are good"
            self._warn(trainer, pl_module, f"of {trainer.max_steps} {self._left()}, {when}")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        # Not at the end of validation: here averaged weights (EMA) are still in place.
        if trainer.sanity_checking:
            return
        choices = self._look(trainer, pl_module)
        if choices is not None:
            pl_module.log("val/order_choices", choices, sync_dist=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        metrics = trainer.callback_metrics
        if trainer.sanity_checking or self.share is None or "val/nelbo" not in metrics:
            return
        own = float(metrics["val/nelbo"])
        uniform = float(metrics.get("val/nelbo_uniform", math.inf))
        if self.share >= self.sharp:
            self.soft, self.best, self.worse = min(self.soft, own, uniform), math.inf, False
            return
        self.best = min(self.best, own)
        self.worse = self.best > MARGIN * self.soft
        if self.worse:
            worse = f"val/nelbo is {own:.4g}, when {self.soft:.4g} had been reached with a soft law"
            self._warn(trainer, pl_module, f"{self._left()}, and {worse}")
