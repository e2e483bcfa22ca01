"""Training: the LightningModule, its optimiser and its callbacks."""

from ordo.training.callbacks import OrderHistory, SampleWriter
from ordo.training.collapse import CollapseAlarm
from ordo.training.gradient_signal import GradientSignal, RunningMoments
from ordo.training.last import LastCheckpoint, ValidateLast
from ordo.training.module import OrderDiffusion, TrainingDiverged
from ordo.training.optimisation import OptimizerSettings
from ordo.training.plain import train_steps
from ordo.training.progress import StepProgress
from ordo.training.quality import MoleculeQuality, SampleQuality
from ordo.training.repeat_batch import RepeatBatch

__all__ = [
    "CollapseAlarm", "GradientSignal", "LastCheckpoint", "MoleculeQuality", "OptimizerSettings",
    "OrderDiffusion", "OrderHistory", "RepeatBatch", "RunningMoments", "SampleQuality",
    "SampleWriter", "StepProgress", "TrainingDiverged", "ValidateLast", "train_steps",
]  # fmt: skip
