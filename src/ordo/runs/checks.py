"""What is found wrong with a run before its first step: its settings, and data on two rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ordo.data import DataError, SequenceData, TableData, TaskData
from ordo.data.decoding import Decoding, cells_of
from ordo.errors import ConfigError, first_line, install
from ordo.parts import named
from ordo.runs.build import build, plain
from ordo.runs.settings import REFUSED, Train
from ordo.samplers import Trace
from ordo.settings import Group, Parameter, SettingError, check_arguments, check_inside
from ordo.wording import show

ELSEWHERE = "; keys come from the experiment too: experiment=custom sets none"


def check_settings(config: DictConfig, group: type[Group]) -> None:
    """Compares a whole configuration with the types and ranges of its settings and parts.

    group: of ``ordo.runs.settings``. Raises SettingError, which names the setting in full.
    """
    settings: dict[str, Any] = plain(config)
    settings.pop("hydra", None)
    trainer = settings.get("trainer") or {}
    for name, mend in REFUSED.items():
        if trainer.get(name) is not None:
            raise SettingError(
                f"trainer.{name}", trainer[name], f"has not its usual effect here, {mend}"
            )
    if trainer.get("accelerator") == "mps":
        raise SettingError(
            "trainer.accelerator",
            "mps",
            "Apple's MPS has no float64, which the laws of orders need; choose auto or cpu",
        )
    try:
        check_arguments(group, settings)
        check_trainer(trainer)
        check_loggers(settings.get("logger") or {})
        for name in ("callbacks", "logger", "metrics", "report.metrics"):
            check_parts(settings, name)
        check_inside(
            {name: value for name, value in settings.items() if name not in ("shape", "compare")},
            "",
            named,
        )
    except SettingError as error:
        if group is Train and "there is no such" in error.allowed and "." in error.setting:
            raise SettingError(error.setting, error.value, error.allowed + ELSEWHERE) from None
        raise


def check_given(config: DictConfig, keys: Iterable[str], usage: str) -> None:
    """Raises ConfigError with the usage for a setting that has to be given and is not."""
    for key in keys:
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"no {key} given; {usage}")


def check_parts(settings: dict[str, Any], name: str) -> None:
    """Raises SettingError unless a section, if it is there, maps names to parts or null."""
    section: Any = settings
    for key in name.split("."):
        section = (section or {}).get(key)
    if section is None:
        return
    if not isinstance(section, dict):
        raise SettingError(name, section, "must map names to parts, each with a _target_")
    for key, part in section.items():
        Parameter(object | None, True)(part, f"{name}.{key}")


def check_loggers(loggers: Any) -> None:
    """Raises ConfigError for a logger whose package is not installed."""
    for node in loggers.values() if isinstance(loggers, dict) else ():
        target = str(node.get("_target_")) if isinstance(node, dict) else ""
        there = find_spec("tensorboard") or find_spec("tensorboardX")
        if target.endswith(".TensorBoardLogger") and there is None:
            raise ConfigError(f"logger=tensorboard needs TensorBoard: {install('tensorboard')}")


def check_trainer(trainer: dict[str, Any]) -> None:
    """Raises SettingError for flags that together would train for ever."""
    if (
        trainer.get("max_steps") == -1
        and trainer.get("max_epochs") in (-1, None)
        and trainer.get("max_time") is None
    ):
        raise SettingError(
            "trainer.max_steps",
            -1,
            "needs trainer.max_epochs or trainer.max_time, or training has no end",
        )


def check_metrics(metrics: Any, name: str) -> None:
    """Raises SettingError for a metric of samples that is not callable."""
    for key, node in (metrics or {}).items():
        if node is not None and not callable(build(node, f"{name}.{key}")):
            raise SettingError(
                f"{name}.{key}._target_",
                node["_target_"],
                "must make a callable (samples, real, data), as ordo.training.SampleQuality",
            )


def rehearse(data: SequenceData, report: Any) -> None:
    """Reads on two rows what else only the end of a run would read. Raises DataError.

    report: its settings, None for no report.
    """
    kind = type(data).__name__

    def look(what: str, get: Callable[[], Any], fits: Callable[[Any], bool], wanted: str) -> Any:
        try:
            value = get()
            good = fits(value)
        except DataError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise DataError(
                f"{kind}: {what} fails on two rows ({reason}); it must give {wanted}"
            ) from error
        if not good:
            raise DataError(f"{kind}: {what} must give {wanted}, not {show(value)}")
        return value

    split = "test_set" if report is not None and report.split == "test" else "val_set"
    rows = look(
        split,
        lambda: getattr(data, split),
        lambda rows: len(rows) > 0,
        "Rows with a sequence at least",
    )
    two = torch.arange(2) % len(rows)
    tokens = look(
        split,
        lambda: rows.batch(two).tokens,
        lambda x: x.shape == (2, data.length),
        f"sequences of length {data.length}",
    )
    if report is not None:
        look(
            "entropy",
            lambda: data.entropy,
            lambda value: value is None or float(value) >= 0,
            "nats per sequence, or None",
        )
        look(
            "unit",
            lambda: data.unit,
            lambda value: isinstance(value, str),
            "the name of a token, such as char",
        )
        look(
            "labels",
            lambda: data.labels,
            lambda names: names is None or len(names) == data.length,
            "a name for every position, or None",
        )
        look(
            "precedence",
            lambda: data.precedence,
            lambda pairs: pairs is None or all(len(pair) == 2 for pair in pairs),
            "pairs, or None",
        )
    look(
        "decode",
        lambda: data.decode(tokens),
        lambda texts: all(isinstance(x, str) for x in texts) and len(texts) == 2,
        "a text for each",
    )
    look(
        "describe",
        lambda: json.dumps(data.describe()),
        lambda text: text.startswith("{"),
        "a mapping that JSON can hold",
    )
    if report is None:
        return
    if report.get("samples") and report.get("page", True):
        look(
            "state_dict",
            lambda: symbols(data, tokens),
            lambda cells: len(cells) == 2,
            "what a vocabulary is made of again",
        )
    if report.get("samples"):
        zeros = torch.zeros_like(tokens)
        trace = Trace(
            tokens,
            torch.arange(data.length).expand(2, -1),
            zeros,
            zeros.double(),
            zeros,
            zeros[:, 0],
        )
        for name, node in (report.get("metrics") or {}).items():
            if node is not None:
                metric = build(node, f"report.metrics.{name}")
                wanted = "a mapping from names to numbers, empty if there are too few samples"
                look(
                    f"report.metrics.{name}",
                    lambda metric=metric: metric(trace, rows, data),
                    numbers,
                    wanted,
                )


def numbers(found: Any) -> bool:
    """Whether all values of a mapping are numbers."""
    return all(isinstance(float(value), float) for value in found.values())


def symbols(data: SequenceData, tokens: torch.Tensor) -> list[list[str]]:
    """Sequences token by token, as the page of the report shows them."""
    if isinstance(data, TableData):
        return cells_of(data.codec.decode(tokens))
    return Decoding(
        {type(data).__qualname__: data.state_dict()},
        data.task if isinstance(data, TaskData) else None,
    ).symbols(tokens)
