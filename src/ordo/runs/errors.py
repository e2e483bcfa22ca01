"""The errors that a user can mend. The entry points show them in one line, without a traceback."""

from __future__ import annotations

from omegaconf.errors import OmegaConfBaseException

from ordo.data import DataError
from ordo.errors import ConfigError, FileError
from ordo.objectives import LawTooSharp
from ordo.runs.checkpoint import CheckpointError
from ordo.settings import SettingError
from ordo.training.module import TrainingDiverged

USER_ERRORS = (DataError, ConfigError, SettingError, CheckpointError, FileError)
USER_ERRORS += (TrainingDiverged, LawTooSharp, OmegaConfBaseException, OSError)
