"""One run, from a composed configuration to a report: settings, folder, checkpoints, evaluation.

What takes seconds to import is imported when it is asked for: the command line is read first.
"""

from typing import TYPE_CHECKING

from ordo.lazy import lazily

if TYPE_CHECKING:
    from ordo.runs.checkpoint import CheckpointError
    from ordo.runs.stored import load, load_data

__all__ = ["CheckpointError", "load", "load_data"]
__getattr__ = lazily(
    __name__,
    {
        "CheckpointError": "ordo.runs.checkpoint",
        "load": "ordo.runs.stored",
        "load_data": "ordo.runs.stored",
    },
)
