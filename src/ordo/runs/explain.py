"""What is wrong with a command line, in one line with a suggestion."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ordo.errors import ConfigError, first_line
from ordo.runs import settings
from ordo.settings import SettingError

SETTINGS = {
    "train": settings.Train,
    "eval": settings.Eval,
    "sample": settings.Sample,
    "export": settings.Export,
}  # by name of YAML
UNMERGED = re.compile(
    r"Error merging override (.*)|force-add of config groups is not supported: '(.*)'", re.DOTALL
)


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``name`` was probably meant to be."""
    found = difflib.get_close_matches(name, sorted(set(candidates)), n=1, cutoff=0.6)
    return found[0] if found else None


def no_choice(arguments: Iterable[str], config: Path) -> str | None:
    """What is wrong with the first argument that has a list in place of a choice, if one has."""
    choices = groups(config)
    for given in arguments:
        group, _, value = given.partition("=")
        if group.lstrip("+") in choices and value.startswith("["):
            names = ", ".join(path.stem for path in choices[group.lstrip("+")])
            return f"{given}: a choice is a name; choices: {names}"
    return None


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
    # The check imports the parts, which takes seconds.
    from ordo.runs.checks import check_settings

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
