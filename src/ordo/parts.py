"""Parts of a model or run, made from plain values: the name of a class and its arguments.

``{"_target_": "ordo.schedules.Linear", "length": 16}`` describes a part. ``make`` calls whatever
the description names, so ``make`` is for what the user has written: a command line, a YAML file of
the user's own, Python code. A description that was read from a checkpoint or a saved model goes
through ``from_file`` first, which knows the classes that a file may name and looks at names only:
nothing is imported, resolved or called before the whole description is accepted.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from ordo.errors import ConfigError, UntrustedError, first_line
from ordo.files import Json
from ordo.settings import SettingError, arguments_of, check_node, lists, to_plain
from ordo.wording import show

TARGET = "_target_"
# In place of TARGET in what is told of a part of the user's own: the name of its class, in words.
OWN = "own"
DEEPEST = 32  # levels of a description; the deepest of ordo's own has 4
# Settings that hold characters or column names of the user's data.
VERBATIM = ("alphabet", "missing", "types")
# Classes that a file may name, by the part of a model that the file describes.
FROM_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "denoiser": {
        "ordo.denoisers": (
            "BidirectionalTransformer", "OrderCausalTransformer", "OrderCausalTableTransformer",
            "PretrainedDenoiser", "TableTransformer",
        ),
    },
    "schedule": {
        "ordo.schedules": (
            "Cosine", "FeatureHead", "FreeTable", "Geometric", "GivenOrder", "Kumaraswamy",
            "Linear", "LogBound", "NormSig", "PerContext", "PerVocabulary", "Polynomial",
            "PooledNetwork", "PositionNetwork", "Power", "StepTable", "TokenNetwork",
        ),
    },
    "data": {
        "ordo.data": (
            "CorpusData", "IdsData", "SmilesData", "SudokuData", "TableData", "TaskData",
            "TextData",
        ),
    },
    "task": {
        "ordo.data": (
            "Addition", "BayesNet", "BinaryTree", "EvenParity", "IndependentTokens", "MarkovChain",
            "ModularSums", "NotAllEqual", "StarGraph", "TwoOrders", "TwoWays",
        ),
    },
}  # fmt: skip
INSIDE = {"data": "task"}  # kind of the parts inside a part, where it is another kind


def renewed(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A description that names a class of an older version, as the classes of today say it."""
    name = str(node.get(TARGET)).rpartition(".")[2]
    if not str(node.get(TARGET)).startswith("ordo.schedules."):
        return node
    if name == "LogLinear":
        return {**node, TARGET: "ordo.schedules.Linear"}
    if name == "OrderPosterior":
        bounds = {TARGET: "ordo.schedules.LogBound", "bound": node.get("bound")}
        rest = {key: value for key, value in node.items() if key != "bound"}
        return {**rest, TARGET: "ordo.schedules.PerContext", "bounds": bounds}
    return node


def canonical(target: str, role: str) -> str | None:
    """The public name of a class that a file may name as a part of this kind, or None.

    A class of ``ordo.schedules`` may also be called by the module it stands in, as in
    ``ordo.schedules.power.Power``; that module is never imported by the name in the file.
    """
    for package, names in FROM_FILES[role].items():
        match = re.fullmatch(re.escape(package) + r"(\.[a-z_]+)*\.(\w+)", target)
        if match is not None and match[2] in names:
            return f"{package}.{match[2]}"
    return None


def from_file(node: object, role: str, name: str, trust: Collection[str] = ()) -> Json:
    """A description that was read from a file, checked: only ``make`` may take the result.

    Args:
        node: the description, as the file has it.
        role: "denoiser", "schedule", "data" or "task".
        name: what messages call the description.
        trust: packages of the user's own, any class of which the file may name as well.
    Raises UntrustedError, naming the key, for everything else: another class, a function, an
    interpolation, a key with a meaning of its own to Hydra, a value that JSON does not have.
    """
    if not isinstance(node, Mapping) or TARGET not in node:
        raise UntrustedError(f"{name} is no description of a part: there is no {TARGET} in it")
    return _checked(renewed(node), role, name, trust, DEEPEST)


def _checked(value: object, role: str, name: str, trust: Collection[str], depth: int) -> Any:
    if depth == 0:
        raise UntrustedError(f"{name} is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        inside = INSIDE.get(role, role) if TARGET in value else role
        out: dict[object, object] = {}
        for key, item in value.items():
            if key is not None and type(key) not in (bool, int, float, str):
                raise UntrustedError(f"{name} has a key that is a {type(key).__name__}")
            where = f"{name}.{show(key)}"
            if key == TARGET:
                out[key] = _class_of_file(item, role, where, trust)
            elif key == "_convert_" and item in ("none", "partial", "object", "all"):
                continue  # older files have this key; plain values need no conversion
            elif re.fullmatch(r"_\w+_", str(key)):
                raise UntrustedError(f"{show(where)}: a file may not have this key")
            elif _verbatim(key, item):
                out[key] = item
            else:
                out[key] = _checked(item, inside, where, trust, depth - 1)
        return out
    if isinstance(value, list | tuple):
        return [
            _checked(item, role, f"{name}[{i}]", trust, depth - 1) for i, item in enumerate(value)
        ]
    if isinstance(value, str) and "${" in value:
        raise UntrustedError(f"{name}={show(value)}: a file may not have interpolations")
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise UntrustedError(f"{name} is a {type(value).__name__}, which is no plain value")


def _verbatim(key: object, value: object) -> bool:
    """Whether a setting holds text of the user's data, where ``${`` and _x_ mean nothing."""
    items = [*value, *value.values()] if isinstance(value, Mapping) else value
    items = items if isinstance(items, list) else [items]
    return key in VERBATIM and all(type(item) in (str, int, float) for item in items)


def _class_of_file(target: object, role: str, name: str, trust: Collection[str]) -> str:
    if isinstance(target, str):
        known = canonical(target, role)
        if known is not None:
            return known
        if any(target.startswith(f"{package}.") for package in trust):
            return target
    package = str(target).partition(".")[0]
    hint = f"; if the code is yours, add trust=[{package}]" if _may_be_yours(target) else ""
    value = show(target) if isinstance(target, str) else f"a {type(target).__name__}"
    raise UntrustedError(f"{name}={value} is no {role} of ordo that a file may name{hint}")


def _may_be_yours(target: object) -> bool:
    known = ("ordo", "torch", "os", "sys", "builtins", "subprocess", "pathlib", "shutil", "pandas")
    return isinstance(target, str) and "." in target and target.partition(".")[0] not in known


def named(target: str) -> Any:
    """The class or function of a dotted name. Raises ImportError."""
    parts = target.split(".")
    for i in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:i])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (
                module == error.name or module.startswith(f"{error.name}.")
            ):
                continue  # a class within a class, or nothing at all
            raise
        for part in parts[i:]:
            if not hasattr(found, part):
                raise ImportError(f"there is no {part} in {module}")
            found = getattr(found, part)
        return found
    raise ImportError("there is none of that name; is its folder in PYTHONPATH?")


def make(node: Mapping[str, Any], name: str, **more: Any) -> Any:
    """Calls what ``_target_`` names, with the other keys as arguments, inner descriptions first.

    Args:
        node: plain values, without interpolations.
        name: of the part, in messages.
        more: arguments beside those of the description.
    Raises ConfigError in one line that names the part or setting: no such class, no such setting,
    a wrong value, or whatever the class has to say of its arguments.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get(TARGET), str):
        rule = "a part is made of the name of its class"
        raise ConfigError(f"configuration part '{name}' has no {TARGET}: {rule}")
    try:
        check_node({**node, **more}, name, named)
    except SettingError as error:
        raise ConfigError(str(error)) from None
    return _make(node, name, more)


def _make(node: Mapping[str, Any], name: str, more: Mapping[str, Any]) -> Any:
    arguments = {key: _made(value, f"{name}.{key}") for key, value in node.items() if key != TARGET}
    try:
        return named(node[TARGET])(**arguments, **more)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        part = f"configuration part '{name}' ({node[TARGET]})"
        raise ConfigError(f"{part}: {first_line(cause)}") from error


def _made(value: object, name: str) -> Any:
    if isinstance(value, Mapping):
        if TARGET in value:
            return _make(value, name, {})
        return {key: _made(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_made(item, f"{name}[{i}]") for i, item in enumerate(value)]
    return value


def make_pair(
    denoiser: Mapping[str, Any] | nn.Module, schedule: Mapping[str, Any] | nn.Module
) -> tuple[Any, Any]:
    """A denoiser and a schedule of the same length, each made of its description or there already.

    Raises ConfigError.
    """
    made = [
        make(part, name) if isinstance(part, Mapping) else part
        for name, part in (("denoiser", denoiser), ("schedule", schedule))
    ]
    check_lengths(*made)
    return made[0], made[1]


def check_lengths(denoiser: Any, schedule: Any) -> None:
    """Raises ConfigError where a schedule is for sequences of another length."""
    if schedule.length != denoiser.length:
        lengths = f"{schedule.length} positions, the denoiser {denoiser.length}"
        raise ConfigError(f"the schedule has {lengths}")


def describe(part: object, role: str) -> Json | None:
    """The description that ``make`` makes such a part of again, or None: a file may not name the
    part's class, or the part holds more than its arguments say.

    Args:
        role: as of ``from_file``, or "" for what is only told and never made of the description.
    """
    kind, arguments = type(part), arguments_of(part)
    own = f"{kind.__module__}.{kind.__qualname__}"
    if arguments is None and hasattr(part, "arguments"):
        return self_contained(part, {})
    target = canonical(own, role) if role else own
    if arguments is None or target is None or named(target) is not kind:
        return None
    inside = INSIDE.get(role, role)
    out: Json = {TARGET: target}
    for key, value in arguments.items():
        is_part = arguments_of(value) is not None
        out[key] = describe(value, inside) if is_part else lists(to_plain(value))
        if out[key] is None and value is not None:
            return None
    return out


def told(part: Any, role: str) -> Json:
    """The description of a part, or what can be said of a part that has none, see ``OWN``."""
    described = describe(part, role)
    if described is not None:
        return described
    inner = getattr(part, "module", part)  # of ``ordo.denoisers.Wrapped``
    sizes = {name: getattr(part, name, None) for name in ("vocab_size", "length")}
    return {OWN: type(inner).__name__, **{k: v for k, v in sizes.items() if type(v) is int}}


def self_contained(part: Any, node: Json) -> Json:
    """A description that needs nothing from elsewhere: the node itself for most parts.

    A part that was made from a model of the hub has ``arguments``, plain values; the part's class
    makes the part again from those values and a state dict.
    """
    if not hasattr(part, "arguments"):
        return node
    kind = type(part)
    return {TARGET: f"{kind.__module__}.{kind.__qualname__}", **part.arguments}
