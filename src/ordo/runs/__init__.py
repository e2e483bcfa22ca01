"""One run, from a composed configuration to a report: settings, folder, checkpoints, evaluation."""

from ordo.runs.checkpoint import CheckpointError
from ordo.runs.stored import load, load_data

__all__ = ["CheckpointError", "load", "load_data"]
