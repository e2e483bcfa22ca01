"""The errors that a user can mend: the entry points show them as one line instead of a traceback."""

from __future__ import annotations

import sys
from typing import NoReturn

from omegaconf.errors import OmegaConfBaseException

from ordo.data import DataError
from ordo.errors import FileError
from ordo.objectives import LawTooSharp
from ordo.settings import SettingError
from ordo.training.build import ConfigError, first_line
from ordo.training.checkpoint import CheckpointError
from ordo.training.module import TrainingDiverged

USER_ERRORS = (
    DataError, ConfigError, SettingError, CheckpointError, FileError, TrainingDiverged, LawTooSharp, OmegaConfBaseException,
    OSError,
)  # fmt: skip


def fail(error: BaseException) -> NoReturn:
    """One line on standard error and exit status 1."""
    sys.exit(f"error: {first_line(error)}")
