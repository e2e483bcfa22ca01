"""Manners of the command line, the same for every entry point: errors in one line with a
suggestion, exit codes, quiet mode.

Exit codes: 0 done; 1 failed while running; 2 the command line or the configuration is wrong; 130
stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ordo import progress
from ordo.errors import ConfigError, UserError, first_line
from ordo.interrupt import number_of, raising
from ordo.runs.explain import check_added, explain, no_choice
from ordo.settings import SettingError

USER_ERRORS = (UserError, OmegaConfBaseException, OSError)
FAILED, WRONG, BY_SIGNAL = 1, 2, 128
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed while running, 2 wrong command line or configuration, "
    "130 stopped by Ctrl-C, 143 by SIGTERM."
)
WRONG_SETTING = (ConfigError, SettingError, OmegaConfBaseException, HydraException)
FULL = "HYDRA_FULL_ERROR"  # "1": errors with their traceback


@dataclass
class Command:
    """The command that this process runs.

    Args:
        config: the YAML of its settings; None: it has no YAML.
        hydra: its main function is one of ``hydra.main``.
        full: what the variable ``HYDRA_FULL_ERROR`` was when the command began.
        began: Hydra has composed, so an error is one of the run.
        called: what a user types to run the command; empty: no command runs.
    """

    config: Path | None = None
    hydra: bool = False
    full: str | None = None
    began: bool = False
    called: tuple[str, ...] = ()


running = Command()
cleanup = ExitStack()  # what is to be undone when the command ends, however it ends


class JobFailed(HydraException):
    """A job of a sweep, told of already; code: the exit code."""

    code = FAILED


def first_rank() -> bool:
    """Whether this is the first of the processes that train together.

    Lightning knows; a process that has not imported Lightning yet trains nothing.
    """
    module: Any = sys.modules.get("lightning.fabric.utilities.rank_zero")
    return module is None or module.rank_zero_only.rank == 0


def command(
    main: Callable[[], Any],
    config: Path | None = None,
    hydra: bool = True,
    called: tuple[str, ...] | None = None,
) -> None:
    """Runs the main function of an entry point and exits with its code.

    Args:
        config: the YAML of its settings, beside the folders of its choices; None: it has no YAML.
        hydra: ``main`` is decorated with ``hydra.main``.
        called: what a user types to run the command; None: ``python`` and the file.
    """
    running.called = called or ("python", sys.argv[0])
    full, hydra = os.environ.get(FULL), hydra and config is not None
    running.config, running.hydra, running.full, running.began = config, hydra, full, not hydra
    if hydra:
        # Hydra would print its errors, which have several lines, and exit; so it raises them.
        os.environ[FULL] = "1"
        warnings.filterwarnings("error", "provider=hydra.searchpath")  # a folder that is not there
    try:
        with raising(), cleanup:
            main()
    except KeyboardInterrupt as interrupt:
        if first_rank():
            print(str(interrupt) or "interrupted", file=sys.stderr)
        sys.exit(BY_SIGNAL + number_of(interrupt))
    except (*USER_ERRORS, HydraException, ValueError, UserWarning) as error:
        if (
            isinstance(error, ValueError | UserWarning)
            and running.began
            and not isinstance(error, USER_ERRORS)
        ):
            raise  # a bug
        stop(error)
    except TypeError:  # Hydra takes a list of choices, and looks into each as text
        wrong = no_choice(sys.argv[1:], config) if hydra and config is not None else None
        if wrong is None or running.began:
            raise
        stop(ConfigError(wrong))
    finally:
        restore(full)
        # A job that is called as a function, later in this process, is none of Hydra's.
        running.config, running.hydra, running.called = None, False, ()


def stop(error: BaseException) -> NoReturn:
    """Tells of the error in one line, after its traceback if that is wanted, and exits."""
    if running.full == "1":
        traceback.print_exception(error)
    print(f"error: {explain(error, running.config)}", file=sys.stderr)
    sys.exit(code_of(error))


def restore(full: str | None) -> None:
    if full is None:
        os.environ.pop(FULL, None)
    else:
        os.environ[FULL] = full


def code_of(error: BaseException) -> int:
    """2 for what is wrong with the command line or the configuration, 1 for what failed."""
    if isinstance(error, JobFailed):
        return error.code
    return WRONG if not running.began or isinstance(error, WRONG_SETTING) else FAILED


@contextmanager
def job(quiet: bool = False, sweep: bool = False) -> Iterator[None]:
    """Around what a Hydra main function does: from here on an error is one of the run.

    Args:
        quiet: only errors and the result are printed.
        sweep: an error is told at once, because Hydra goes on with the other jobs, and in the end
            tells of the first error alone.
    """
    running.began = True
    shown = progress.show(not quiet)
    if quiet:
        logging.disable(logging.WARNING)
        os.environ.setdefault("WANDB_SILENT", "true")
    try:
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")
            if running.hydra:
                restore(running.full)  # for processes that are started from here
                if running.config is not None:
                    check_added(HydraConfig.get().overrides.task, running.config)
            yield
    except USER_ERRORS as error:
        if not sweep:
            stop(error)  # by SystemExit, of which Hydra has nothing to say
        print(f"error: {first_line(error)}", file=sys.stderr)
        failed = JobFailed(first_line(error))
        failed.code = code_of(error)
        raise failed from error
    finally:
        progress.show(shown)
        logging.disable(logging.NOTSET)
        if running.hydra:
            os.environ[FULL] = "1"
