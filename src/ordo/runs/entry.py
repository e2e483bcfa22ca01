"""Manners of the command line, the same for every entry point: errors in one line with a
suggestion, exit codes, quiet mode.

Exit codes: 0 done; 1 failed while running; 2 the command line or the configuration is wrong; 130
stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ordo import progress
from ordo.errors import ConfigError, first_line
from ordo.runs.checks import check_settings
from ordo.runs.errors import USER_ERRORS
from ordo.runs.settings import Eval, Export, Sample, Train
from ordo.settings import Count, Positive, Seed, SettingError, Threads, Whole, argument
from ordo.training.interrupt import number_of, raising

FAILED, WRONG, BY_SIGNAL = 1, 2, 128
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed while running, 2 wrong command line or configuration, "
    "130 stopped by Ctrl-C, 143 by SIGTERM."
)
WRONG_SETTING = (ConfigError, SettingError, OmegaConfBaseException, HydraException)
SETTINGS = {"train": Train, "eval": Eval, "sample": Sample, "export": Export}  # by name of YAML
UNMERGED = re.compile(
    r"Error merging override (.*)|force-add of config groups is not supported: '(.*)'", re.DOTALL
)
FULL = "HYDRA_FULL_ERROR"  # "1": errors with their traceback


@dataclass
class Command:
    """The command that this process runs.

    Args:
        config: the YAML of its settings; None: it has no YAML.
        hydra: its main function is one of ``hydra.main``.
        full: what the variable ``HYDRA_FULL_ERROR`` was when the command began.
        began: Hydra has composed, so an error is one of the run.
    """

    config: Path | None = None
    hydra: bool = False
    full: str | None = None
    began: bool = False


running = Command()
cleanup = ExitStack()  # what is to be undone when the command ends, however it ends


class JobFailed(HydraException):
    """A job of a sweep, told of already; code: the exit code."""

    code = FAILED


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``name`` was probably meant to be."""
    found = difflib.get_close_matches(name, sorted(set(candidates)), n=1, cutoff=0.6)
    return found[0] if found else None


def command(main: Callable[[], Any], config: Path | None = None, hydra: bool = True) -> None:
    """Runs the main function of an entry point and exits with its code.

    Args:
        config: the YAML of its settings, beside the folders of its choices; None: it has no YAML.
        hydra: ``main`` is decorated with ``hydra.main``.
    """
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
        if rank_zero_only.rank == 0:
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
        running.config, running.hydra = None, False


def no_choice(arguments: Iterable[str], config: Path) -> str | None:
    """What is wrong with the first argument that has a list in place of a choice, if one has."""
    choices = groups(config)
    for given in arguments:
        group, _, value = given.partition("=")
        if group.lstrip("+") in choices and value.startswith("["):
            names = ", ".join(path.stem for path in choices[group.lstrip("+")])
            return f"{given}: a choice is a name; choices: {names}"
    return None


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


def explain(error: BaseException, config: Path | None) -> str:
    """One line on an error of Hydra's or of the run, with a suggestion."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        meant = closest(choice, error.options)
        hint = f"did you mean {group}={meant}? " if meant else ""
        return f"there is no {group}={choice}; {hint}choices: {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        if "=" not in str(error.override):
            return f"{error.override!r} is not of the form KEY=VALUE"
        reason = str(error).splitlines()[-2 if "See https" in str(error) else -1]
        return f"{error.override!r} cannot be read ({reason}); quotes may help: \"KEY='VALUE'\""
    deleted = re.search(r"Could not delete from config. '([^']+)' does not exist", str(error))
    if isinstance(error, HydraException) and deleted:
        return unknown_key(deleted[1], [], config)
    node = getattr(cause, "parent_node", None)
    if (
        isinstance(error, HydraException)
        and isinstance(node, DictConfig)
        and "Could not override" in str(error)
    ):
        return unknown_key(str(getattr(cause, "full_key", "")), map(str, node), config)
    unmerged = UNMERGED.fullmatch(str(error))
    if isinstance(error, HydraException) and unmerged and config is not None:
        told = refused(unmerged[1] or unmerged[2], config)
        if told is not None:
            return told
    if isinstance(error, HydraException) and cause is not None and str(cause):
        return f"{first_line(error)}: {first_line(cause)}"
    return first_line(error)


def refused(override: str, config: Path) -> str | None:
    """What the check of settings says of a value that Hydra could not merge, such as a list in
    place of a section. None: the check says nothing.
    """
    key = override.partition("=")[0].lstrip("+")
    others = [text for text in sys.argv[1:] if "=" in text and text != override]
    try:
        value = OverridesParser.create().parse_override(override).value()
        with initialize_config_dir(str(config.parent.absolute()), version_base="1.3"):
            whole = compose(config.stem, others)
        for name in ("name", "output"):  # which only a run of Hydra's own can resolve
            if name in whole and OmegaConf.is_interpolation(whole, name):
                whole[name] = name
        OmegaConf.update(whole, key, value, merge=False, force_add=True)
        check_settings(whole, SETTINGS[config.stem])
    except SettingError as error:
        return first_line(error)
    except (HydraException, OmegaConfBaseException):
        return None
    return None


def groups(config: Path) -> dict[str, list[Path]]:
    """The choices of an entry point: group -> files, of those that its YAML names."""
    entries = DictConfig(OmegaConf.load(config)).get("defaults", [])
    names = [
        str(name).removeprefix("/")
        for entry in entries
        if isinstance(entry, DictConfig)
        for name in entry
    ]
    return {
        name: sorted((config.parent / name).glob("*.yaml"))
        for name in names
        if (config.parent / name).is_dir()
    }


def unknown_key(key: str, siblings: Iterable[str], config: Path | None) -> str:
    """On a setting that does not exist. siblings: those that do, beside it."""
    siblings = list(siblings)
    parent, _, last = key.rpartition(".")
    choices = groups(config) if config is not None else {}
    having: dict[str, list[str]] = {}  # settings of a part that other choices of it have
    for path in choices.get(parent, []):
        for name in OmegaConf.load(path):
            having.setdefault(str(name), []).append(f"{parent}={path.stem}")
    names = [
        name
        for name in (*siblings, *having, *(() if parent else choices))
        if name not in ("hydra", "defaults", "_target_", "shape")
    ]
    there = dict.fromkeys(names)
    if last in having:
        return (
            f"{key} is a setting of other choices: {', '.join(having[last])}; "
            f"choose one of them, or one of {parent}'s own settings"
        )
    meant = closest(last, there)
    of = (
        f" (of {', '.join(having[meant])})"
        if meant in having and meant not in set(siblings)
        else ""
    )
    if meant is not None:
        better = f"{parent}.{meant}" if parent else meant
        given = next((text for text in sys.argv[1:] if text.lstrip("+~").startswith(key)), key)
        return f"there is no setting {key}; did you mean {given.replace(key, better, 1)}?{of}"
    has = ", ".join(there) or "none"
    return f"there is no setting {key}; {parent or 'the configuration'} has {has}"


def check_added(overrides: Iterable[str], config: Path) -> None:
    """Raises ConfigError for ``+trainr=ddp``: a new setting that no part reads, whose name is much
    like one that there is.
    """
    known = {str(key) for key in OmegaConf.load(config)} | set(groups(config))
    for override in overrides:
        key = override.partition("=")[0].partition(".")[0]
        if (
            key.startswith("+")
            and key.strip("+") not in known
            and (meant := closest(key.strip("+"), known))
        ):
            better = override.strip("+").replace(key.strip("+"), meant, 1)
            raise ConfigError(
                f"{override} adds a setting that nothing reads; did you mean {better}?"
            )


RANGES = {int: Count, float: Positive}
NAMED = {"--seed": Seed, "--threads": Threads, "--delay": Whole}


def existing(path: str) -> str:
    """For ``type=`` of argparse: a file or folder that is there."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path}: there is no such file or folder")
    return path


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with a suggestion, and whose help explains the
    exit codes.

    ``type=int`` means a number of at least 1, or what ``NAMED`` says of the option; ``type=float``
    means a number above 0. For others there is ``type=argument(...)``, see ``ordo.settings``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXIT_CODES}
            | options
        )

    def add_argument(self, *names: Any, **options: Any) -> Any:
        if options.get("type") in RANGES:
            options["type"] = argument(NAMED.get(names[0], RANGES[options["type"]]))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        hint = ""
        if unknown := re.search(r"unrecognized arguments: (\S+)", message):
            meant = closest(
                unknown[1].partition("=")[0],
                [name for action in self._actions for name in action.option_strings],
            )
            hint = f"; did you mean {meant}?" if meant else f"; see {self.prog} --help"
        elif wrong := re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message):
            meant = closest(wrong[1], re.findall(r"[\w.]+", wrong[2]))
            hint = f"; did you mean {meant}?" if meant else ""
        self.exit(WRONG, f"error: {message}{hint}\n")
