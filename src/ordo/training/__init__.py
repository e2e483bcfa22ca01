"""Training: the LightningModule, its optimiser, callbacks, checkpoints and runs."""

from ordo.training.callbacks import OrderHistory, SampleWriter
from ordo.training.checkpoint import CheckpointError, load
from ordo.training.module import OrderDiffusion, TrainingDiverged
from ordo.training.optimisation import OptimizerSettings

__all__ = ["CheckpointError", "OptimizerSettings", "OrderDiffusion", "OrderHistory", "SampleWriter", "TrainingDiverged", "load"]
