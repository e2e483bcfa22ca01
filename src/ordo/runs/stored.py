"""The model and the data that a checkpoint describes, made without trusting the checkpoint.

A checkpoint may come from a stranger. The checkpoint's configuration is read as plain values, and
``ordo.parts.from_file`` admits the classes of ordo alone. Where data lie is never read from the
checkpoint: a class of data lists such settings in ``places``, and they have the defaults of the
class unless the caller says otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ordo.data import IdsData, SequenceData, TextData
from ordo.data.text.tokenizer import is_hub_name
from ordo.denoisers import wrap
from ordo.errors import ConfigError, UntrustedError
from ordo.parts import OWN, TARGET, from_file, make, make_pair, named
from ordo.runs.build import prepared
from ordo.runs.checkpoint import IN_PARTS, CheckpointError, find, load_weights, read, reading
from ordo.training.module import OrderDiffusion
from ordo.wording import show

PARTS = ("denoiser", "schedule")
SIZES = ("vocab_size", "length")


def device_of(device: str) -> str:
    """``auto`` as what there is: cuda or cpu. Raises ConfigError for a GPU that is not there."""
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ConfigError("device=cuda: there is no GPU here; choose auto or cpu")
    return ("cuda" if there else "cpu") if device == "auto" else device


def check_trust(trust: Any) -> tuple[str, ...]:
    """Packages of the user's own, as the command line gives them. Raises ConfigError."""
    packages = (trust,) if isinstance(trust, str) else tuple(trust or ())
    for package in packages:
        if not (
            isinstance(package, str) and all(part.isidentifier() for part in package.split("."))
        ):
            raise ConfigError(f"trust={show(package)}: name a package, as in trust=[my_package]")
        if package.partition(".")[0] == "ordo":
            raise ConfigError(
                f"trust={package}: what a file may name of ordo is fixed; "
                "trust is for packages of your own"
            )
    return packages


@dataclass(frozen=True)
class Own:
    """Parts of the user's own, which no file describes, to put the weights of a file into.

    Args:
        denoiser: a denoiser, or a network that ``ordo.denoisers.wrap`` takes.
    """

    denoiser: nn.Module | None = None
    schedule: nn.Module | None = None


def described(
    config: Mapping[str, Any], path: str | Path, trust: Collection[str], own: Own | None = None
) -> dict[str, Any]:
    """Denoiser and schedule of a configuration from a file, checked: descriptions, or what ``own``
    has in place of them. Raises CheckpointError.
    """
    parts: dict[str, Any] = {}
    for name in PARTS:
        node, given = config.get(name), getattr(own, name, None)
        if given is not None:
            parts[name] = given if name == "schedule" else in_place_of(node, given, path)
        elif isinstance(node, Mapping) and OWN in node and TARGET not in node:
            raise CheckpointError(
                f"{path}: its {name} is of a class of your own, {show(node[OWN])}, which no file "
                f"makes again: make it, and give it as {name}=, to get the weights put into it"
            )
        else:
            try:
                parts[name] = from_file(node, name, name, trust)
            except UntrustedError as error:
                raise CheckpointError(f"{path}: {error}") from error
    return parts


def in_place_of(node: Any, given: nn.Module, path: str | Path) -> nn.Module:
    """A denoiser that was given; a network without a denoiser's methods wrapped.

    node: what the file says of the denoiser. Raises CheckpointError where the network does not fit.
    """
    if hasattr(given, "order_causal"):
        return given
    sizes: list[Any] = [node.get(name) if isinstance(node, Mapping) else None for name in SIZES]
    if any(type(size) is not int for size in sizes):
        raise CheckpointError(
            f"{path}: its config does not say vocab_size and length: give the module wrapped, see "
            "ordo.denoisers.wrap"
        )
    try:
        return wrap(given, *sizes)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def load(
    path: str | Path, trust: Collection[str] = (), own: Own | None = None
) -> tuple[OrderDiffusion, dict[str, Any]]:
    """The model of a checkpoint in evaluation mode, and the configuration it was trained with.

    Objective and optimiser are left out. The configuration is data from a file: hand it to nothing
    that resolves or instantiates.

    Args:
        path: a checkpoint or the folder of a run.
        trust: packages of the user's own whose classes the checkpoint may name.
        own: see ``Own``.
    Raises CheckpointError for what is missing, damaged or not trusted.
    """
    checkpoint = read(path)
    if "state_dict" not in checkpoint:
        raise CheckpointError(IN_PARTS.format(find(path)))
    config = checkpoint["ordo"].get("config")
    if not config:
        raise CheckpointError(
            f"{find(path)} holds weights but no configuration: "
            "rebuild the model by hand and use its 'state_dict'"
        )
    parts = described(config, find(path), check_trust(trust), own)
    try:
        with (
            reading(find(path), "the model that its configuration describes"),
            torch.random.fork_rng(devices=[]),
        ):
            denoiser, schedule = make_pair(**parts)
            module = OrderDiffusion(denoiser, schedule, config=config)
    except ConfigError as error:
        raise CheckpointError(f"{find(path)}: {error}") from error
    # What the objective has counted is for going on with the training, and no part of the model.
    state = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if not name.startswith("objective.")
    }
    load_weights(module, state, find(path))
    return module.eval().requires_grad_(False), config


def kind_of(described: Any, trust: Collection[str]) -> Any:
    """The class of data that a configuration from a file names. Raises UntrustedError."""
    target = described.get(TARGET) if isinstance(described, Mapping) else None
    return named(
        from_file({} if target is None else {TARGET: target}, "data", "data", trust)[TARGET]
    )


def load_data(
    config: Mapping[str, Any],
    path: str | Path,
    places: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    trust: Collection[str] = (),
    as_trained: bool = False,
) -> SequenceData:
    """The data of a configuration that ``load`` returned, prepared.

    Args:
        config: the configuration.
        path: the checkpoint it came from.
        places: where the data lie, for the settings that the class of data lists in ``places``;
            the others have the defaults of the class.
        changes: other settings to replace, as far as the class has them.
        trust: as in ``load``.
        as_trained: take places from the configuration, for a checkpoint of your own.
    Raises CheckpointError for what is not trusted, ConfigError for a place that has to be named,
    DataError for the data.
    """
    described: Any = config.get("data")
    packages = check_trust(trust)
    if isinstance(described, Mapping) and OWN in described and TARGET not in described:
        raise ConfigError(
            f"{path}: its data came from Python, as {show(described[OWN])}: evaluate it in Python, "
            "as in ordo.load(FOLDER).likelihood(tokens)"
        )
    try:
        kind = kind_of(described, packages)
        # A mapping is no place: data.types is one, or names a file that has one.
        listed = [
            place
            for place in getattr(kind, "places", ())
            if not isinstance(described.get(place), Mapping)
        ]
        stored = {name: described[name] for name in listed if name in described}
        node = from_file(
            {key: value for key, value in described.items() if key not in stored},
            "data",
            "data",
            packages,
        )
    except UntrustedError as error:
        raise CheckpointError(f"{path}: {error}") from error
    settings, given = inspect.signature(kind).parameters, dict(places or {})
    for name in given:
        if name not in listed:
            has = (
                f"have {', '.join(f'data.{place}' for place in listed)}"
                if listed
                else "are made, not read from a file"
            )
            raise ConfigError(f"data.{name}={show(given[name])}: the data of {path} {has}")
    given = stored | given if as_trained else given
    if is_hub_name(stored.get("tokenizer")):
        given = {"tokenizer": stored["tokenizer"]} | given
    missing = [
        f"data.{name}={show(value)}"
        for name, value in stored.items()
        if not (
            name in given or value is None or (name in settings and value == settings[name].default)
        )
    ]
    if missing:
        raise ConfigError(
            f"{path}: its data were read with {' '.join(missing)}, "
            "and a checkpoint may not say where data lie: "
            f"add {' '.join(missing)}, or where they lie now"
        )
    node |= {name: value for name, value in (changes or {}).items() if name in settings}
    with reading(path, "what it says of its data"):
        # Ids keep their meaning where another text, or another file of ids, is scored.
        checkpoint = read(path)
        vocabulary = (checkpoint.get(TextData.__qualname__) or {}).get("vocabulary")
        if vocabulary is not None and node.get("source") == "file":
            node["alphabet"] = "".join(vocabulary)
        if IdsData.__qualname__ in checkpoint:
            node["vocab_size"] = checkpoint[IdsData.__qualname__]["vocab_size"]
    return prepared(make(node | given, "data"))
