"""How much of the schedule's gradient is signal: its mean over some steps beside its variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from ordo import plots
from ordo.files import write_whole
from ordo.settings import AtLeastOne, Count, Text, checked
from ordo.training.pictures import log_picture


@checked
class RunningMoments:
    """Exponentially weighted mean and variance of a vector, on its device, without ever waiting for it.

    A vector of i steps ago weighs (1 - 1/window)^i; weights are normalised, so that early values are as unbiased as late ones. A vector
    with a value that is not finite (a step that mixed precision skips) is left out.

    window: steps, at least 1; some 2 * window - 1 vectors then count, as many as equally weighted ones would.
    """

    def __init__(self, window: AtLeastOne):
        self.keep = 1 - 1 / window
        self.state: dict[str, Tensor] = {}

    def add(self, vector: Tensor) -> None:
        """vector (n,), any float dtype; what is kept is float64."""
        x = vector.detach().double()
        if not self.state:
            zero = torch.zeros((), dtype=torch.float64, device=x.device)
            self.state = {
                "mean": torch.zeros_like(x),
                "square": zero,
                "weight": zero,
                "weight_squares": zero,
            }
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
        """(2,) float64: trace of the covariance of a single vector, and ``|mean|^2`` over the variance of the mean, which is about 1
        where the true mean is 0. NaN before the second vector.
        """
        state = self.state
        share = (
            state["weight_squares"] / state["weight"] ** 2
        )  # 1 / (effective number of vectors): the variance of the mean
        mean_square = (state["mean"] / state["weight"]).square().sum()
        biased = (state["square"] / state["weight"] - mean_square).clamp(min=0.0)
        variance = torch.where(share < 1, biased / (1 - share), torch.nan)
        return torch.stack([variance, mean_square / (variance * share)])


@checked
class GradientSignal(L.Callback):
    """Variance and signal-to-noise ratio of the gradient in the schedule's parameters, before clipping; resumes with the run.

    Logs ``train/schedule_gradient_variance`` (trace of the covariance of one step's gradient) and ``train/schedule_gradient_snr``
    (``|mean|^2`` over the variance of the mean) every ``every`` steps; writes ``gradient_signal.npz`` to ``folder`` at the end, and a
    picture to its ``pictures`` then and at every validation, to the loggers too. Does nothing where no parameter of the schedule learns.

    window: steps over which is averaged, see ``RunningMoments``. pictures: whether to draw.
    """

    def __init__(
        self, folder: Text, every: Count = 25, window: AtLeastOne = 100, pictures: bool = True
    ):
        self.folder, self.every, self.pictures = Path(folder), every, pictures
        self.moments = RunningMoments(window)
        self.steps: list[int] = []
        self.variance: list[float] = []
        self.signal_to_noise: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        moments = {name: value.cpu() for name, value in self.moments.state.items()}
        return {
            "moments": moments,
            "steps": self.steps,
            "variance": self.variance,
            "signal_to_noise": self.signal_to_noise,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.moments.state = dict(state_dict["moments"])
        self.steps, self.variance = state_dict["steps"], state_dict["variance"]
        self.signal_to_noise = state_dict["signal_to_noise"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.moments.state = {
            name: value.to(pl_module.device) for name, value in self.moments.state.items()
        }

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        # Lightning calls this once an optimiser step, with gradients summed, averaged over ranks and unscaled.
        gradients = [
            p.grad.flatten() for p in pl_module.schedule.parameters() if p.grad is not None
        ]
        if gradients:
            self.moments.add(torch.cat(gradients))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if not self.moments.state or step % self.every or (self.steps and self.steps[-1] >= step):
            return
        variance, ratio = self.moments.signal().tolist()
        self.steps.append(step)
        self.variance.append(variance)
        self.signal_to_noise.append(ratio)
        pl_module.log("train/schedule_gradient_variance", variance)
        pl_module.log("train/schedule_gradient_snr", ratio)

    def _draw(self, trainer: L.Trainer, loggers: list[Any]) -> None:
        figure = plots.gradient_signal(
            np.array(self.steps), np.array(self.variance), np.array(self.signal_to_noise)
        )
        log_picture(
            loggers,
            "gradient_signal",
            figure,
            trainer.global_step,
            self.folder / "pictures" / "gradient_signal.png",
        )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.pictures and self.steps and trainer.is_global_zero and not trainer.sanity_checking:
            self._draw(trainer, trainer.loggers)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero or not self.steps:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lists = {
            "step": self.steps,
            "variance": self.variance,
            "signal_to_noise": self.signal_to_noise,
        }
        arrays: dict[str, Any] = {name: np.array(values) for name, values in lists.items()}
        write_whole(self.folder / "gradient_signal.npz", lambda path: np.savez(path, **arrays))
        if self.pictures:
            self._draw(trainer, [])
