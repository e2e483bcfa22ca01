"""One run, from a composed configuration to a report: its settings, folder, checkpoints and evaluation."""

from ordo.runs.checkpoint import CheckpointError
from ordo.runs.stored import load, load_data

__all__ = ["CheckpointError", "load", "load_data"]
