"""What callbacks ask of Lightning's Trainer and what the class of the Trainer does not declare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L


def data_of(trainer: L.Trainer) -> Any:
    """The data module: ``SequenceData``, or data of the user's own."""
    return getattr(trainer, "datamodule", None)


def callbacks_of(trainer: L.Trainer) -> Sequence[L.Callback]:
    return getattr(trainer, "callbacks", ())
