"""How much of the schedule's gradient is signal: its mean over some steps beside its variance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from ordo import plots
from ordo.files import write_arrays
from ordo.settings import AtLeastOne, Count, Text, checked
from ordo.training.module import OrderDiffusion
from ordo.training.pictures import log_picture


@checked
class RunningMoments:
    """Exponentially weighted mean and variance of a vector; never waits for the device.

    A vector of i steps ago weighs (1 - 1/window)^i. Weights are normalised, so that early values
    are as unbiased as late ones. A vector with a value that is not finite is left out: mixed
    precision skips such a step.

    Args:
        window: steps, at least 1. The weights are worth 2 * window - 1 vectors of equal weight.
    """

    def __init__(self, window: AtLeastOne):
        self.keep = 1 - 1 / window
        self.state: dict[str, Tensor] = {}

    def add(self, vector: Tensor) -> None:
        """vector (n,), any float dtype; what is kept is float64."""
        x = vector.detach().double()
        if not self.state:
            zero = torch.zeros((), dtype=torch.float64, device=x.device)
            self.state = dict.fromkeys(("mean", "square", "weight", "weight_squares"), zero)
            self.state["mean"] = torch.zeros_like(x)
        fine = torch.isfinite(x).all()
        new = 1 - self.keep
        sums = {
            "mean": (x, new),
            "square": (x.square().sum(), new),
            "weight": (torch.ones_like(x[0]), new),
        }
        for name, (value, weight) in sums.items():
            self.state[name] = torch.where(
                fine, self.keep * self.state[name] + weight * value, self.state[name]
            )
        squares = self.state["weight_squares"]
        self.state["weight_squares"] = torch.where(fine, self.keep**2 * squares + new**2, squares)

    def signal(self) -> Tensor:
        """Variance and signal-to-noise ratio, (2,) float64; NaN before the second vector.

        The variance is the trace of the covariance of a single vector. The ratio is ``|mean|^2``
        over the variance of the mean, about 1 where the true mean is 0.
        """
        state = self.state
        # 1 / (effective number of vectors): the variance of the mean of unit vectors.
        share = state["weight_squares"] / state["weight"] ** 2
        mean_square = (state["mean"] / state["weight"]).square().sum()
        biased = (state["square"] / state["weight"] - mean_square).clamp(min=0.0)
        variance = torch.where(share < 1, biased / (1 - share), torch.nan)
        return torch.stack([variance, mean_square / (variance * share)])


@checked
class GradientSignal(L.Callback):
    """Variance and signal-to-noise ratio of the schedule's gradient, before clipping.

    The callback resumes with the run. Every ``every`` steps it logs
    ``train/schedule_gradient_variance``, the trace of the covariance of one step's gradient, and
    ``train/schedule_gradient_snr``, ``|mean|^2`` over the variance of the mean. At the end it
    writes ``gradient_signal.npz`` to ``folder``. A picture goes to ``folder/pictures`` at every
    validation and at the end, and at validations to the loggers. The callback does nothing where no
    parameter of the schedule learns.

    Args:
        window: steps of the running averages, see ``RunningMoments``.
        pictures: draw the picture.
    """

    def __init__(
        self, folder: Text, every: Count = 25, window: AtLeastOne = 100, pictures: bool = True
    ):
        self.folder, self.every, self.pictures = Path(folder), every, pictures
        self.moments = RunningMoments(window)
        self.steps: list[int] = []
        self.variance: list[float] = []
        self.signal_to_noise: list[float] = []

    def state_dict(self) -> dict[str, object]:
        moments = {name: value.cpu() for name, value in self.moments.state.items()}
        lists = {"variance": self.variance, "signal_to_noise": self.signal_to_noise}
        return {"moments": moments, "steps": self.steps, **lists}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.moments.state = dict(state_dict["moments"])
        self.steps, self.variance = state_dict["steps"], state_dict["variance"]
        self.signal_to_noise = state_dict["signal_to_noise"]

    def on_train_start(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        state, device = self.moments.state, pl_module.device
        self.moments.state = {name: value.to(device) for name, value in state.items()}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: OrderDiffusion, optimizer: object
    ) -> None:
        # Lightning calls this once an optimiser step: gradients are summed, averaged over ranks and
        # unscaled.
        found = [p.grad for p in pl_module.schedule.parameters() if p.grad is not None]
        if found:
            self.moments.add(torch.cat([gradient.flatten() for gradient in found]))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion, *_: object) -> None:
        step = trainer.global_step
        if not self.moments.state or step % self.every or (self.steps and self.steps[-1] >= step):
            return
        variance, ratio = self.moments.signal().tolist()
        self.steps.append(step)
        self.variance.append(variance)
        self.signal_to_noise.append(ratio)
        pl_module.log("train/schedule_gradient_variance", variance)
        pl_module.log("train/schedule_gradient_snr", ratio)

    def _draw(self, trainer: L.Trainer, loggers: Sequence[Logger]) -> None:
        figure = plots.gradient_signal(self.steps, self.variance, self.signal_to_noise)
        file = self.folder / "pictures" / "gradient_signal.png"
        log_picture(loggers, "gradient_signal", figure, trainer.global_step, file)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        if self.pictures and self.steps and trainer.is_global_zero and not trainer.sanity_checking:
            self._draw(trainer, trainer.loggers)

    def on_fit_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        if not trainer.is_global_zero or not self.steps:
            return
        columns = {"variance": self.variance, "signal_to_noise": self.signal_to_noise}
        write_arrays(self.folder / "gradient_signal.npz", {"step": self.steps, **columns})
        if self.pictures:
            self._draw(trainer, [])
