"""What callbacks ask of Lightning's Trainer and what the class of the Trainer does not declare."""

from __future__ import annotations

from typing import Any

import lightning as L


def data_of(trainer: L.Trainer) -> Any:
    """The data module: ``SequenceData``, or data of the user's own."""
    return getattr(trainer, "datamodule", None)


def callbacks_of(trainer: L.Trainer) -> list[L.Callback]:
    """The trainer's own list: what is put into the list is called."""
    return getattr(trainer, "callbacks")  # noqa: B009
