"""Types and ranges of settings, which stand in constructors, and the check of values.

``Count``, ``Positive`` and the like are types with a range. ``checked`` makes a class compare its
arguments with the types of its constructor; ``check_arguments`` does the same without making
anything. Both raise ``SettingError``, whose message is one line: setting, value, what is allowed.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Annotated, Any, TypeVar, Union, cast, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ordo.errors import UserError
from ordo.wording import is_plain, members, show, untyped, words

# Beyond the upper ends a process would hang, or ask for more memory than there is.
Count = Annotated[int, Field(ge=1, le=10**12)]
Whole = Annotated[int, Field(ge=0, le=10**12)]
Size = Annotated[int, Field(ge=1, le=10**6)]  # of something that is held in memory
Few = Annotated[int, Field(ge=1, le=1000)]  # layers, rounds: each costs time however small
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Some = Annotated[int, Field(ge=0, le=1000)]
Several = Annotated[int, Field(ge=2, le=10**6)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Sizes = Annotated[Sequence[Size], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[float, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]  # momenta, dropout, floors
Text = Annotated[str, Field(min_length=1)]
Character = Annotated[str, Field(min_length=1, max_length=1), "a single character"]


def between(low: int, high: int) -> Any:
    """A range for ``Annotated[int, between(1, 17)]``."""
    return Field(ge=low, le=high)


def matching(pattern: str) -> Any:
    """A regular expression for ``Annotated[str, matching("..."), "what it means"]``."""
    return Field(pattern=f"^(?:{pattern})$")


# true is no 1, "1" is no 1, and nan is no number.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
T = TypeVar("T")
MADE_OF = "_made_of"  # where an object keeps its class and arguments


class Group:
    """Base of dataclasses that say which settings a section has, such as ``report``; no part."""


class Unknown:
    """A value that is unknown before data are read, such as their length; it passes all checks."""


class SettingError(UserError, ValueError):
    """A setting has a value of another type, or out of range.

    Args:
        setting: the name.
        allowed: what the value must be, in words.
    """

    def __init__(self, setting: str, value: object, allowed: str):
        super().__init__(f"{setting}={show(value)}: {allowed}")
        self.setting, self.value, self.allowed = setting, value, allowed

    def within(self, name: str) -> SettingError:
        """The same error of a setting of the part ``name``."""
        return SettingError(f"{name}.{self.setting}", self.value, self.allowed)

    def __reduce__(self) -> tuple[type[SettingError], tuple[object, ...]]:
        return SettingError, (self.setting, self.value, self.allowed)


def to_plain(value: object) -> Any:
    """Numbers of Numpy as Python's, lists as tuples, paths as text. Raises TypeError for others."""
    if value is None or (
        isinstance(value, bool | int | float | str) and not isinstance(value, np.generic)
    ):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(map(to_plain, value))
    raise TypeError(type(value).__name__)


def lists(value: object) -> object:
    """A plain value with lists in place of tuples."""
    return [lists(item) for item in value] if isinstance(value, tuple) else value


class Parameter:
    """One setting of a class or function, with its type as an adapter of pydantic's.

    Args:
        annotation: the type.
        required: the setting has no default.
        foreign: the class is not ``checked``, and may take more than its types say.
    Attributes:
        untyped: every value passes.
        plain: the plain types among the alternatives of the type; None: there are none.
        group: the section of settings that is allowed; None: no section is.
        part: something that a ``_target_`` makes is allowed.
    """

    def __init__(self, annotation: object, required: bool, foreign: bool = False):
        self.annotation, self.required, self.untyped = annotation, required, untyped(annotation)
        self.untyped |= foreign and not all(map(is_plain, members(annotation)))
        alternatives = [] if self.untyped else members(annotation)
        simple = [each for each in alternatives if is_plain(each)]
        classes = [each for each in alternatives if isinstance(each, type)]
        groups = [each for each in classes if issubclass(each, Group)]
        self.plain: Any = Union[tuple(simple)] if simple else None  # noqa: UP007
        self.group: type[Group] | None = groups[0] if groups else None
        self.part = len(simple) + len(groups) < len(alternatives)
        self.adapter = None if self.plain is None else TypeAdapter(self.plain, config=STRICT)
        sections = [f"settings ({', '.join(parameters(group))})" for group in groups]
        part = ["a part, with a _target_"] if self.part else []
        choices = [*sections, *part, *map(words, simple)]
        self.allowed = "must be " + ", or ".join(choices)

    def __call__(self, value: Any, name: str) -> Any:
        """The value, with tuples in place of lists. Raises SettingError."""
        if self.untyped:
            return value
        if isinstance(value, Mapping) and (
            self.group is not None or (self.part and "_target_" in value)
        ):
            if self.group is not None:
                check_arguments(self.group, value, name)
            return value
        try:
            simple = to_plain(value)
        except TypeError:
            return value  # a module, a tensor, a function: not a matter of types and ranges
        if self.adapter is None:
            raise SettingError(name, value, self.allowed)
        try:
            valid = self.adapter.validate_python(simple)
        except ValidationError:
            if self.accepts(lists(simple)):  # where the type says list
                return value
            number = isinstance(value, int | float) and not isinstance(value, bool)
            hint = f"; digits that are meant as text are quoted twice: \"{name}='{show(value)}'\""
            text = number and self.accepts(str(value))
            raise SettingError(name, value, self.allowed + (hint if text else "")) from None
        return value if isinstance(value, PurePath) else valid

    def accepts(self, value: object) -> bool:
        """Whether a plain value has the type and is in range."""
        try:
            if self.adapter is not None:
                self.adapter.validate_python(value)
        except ValidationError:
            return False
        return self.adapter is not None


@functools.cache
def parameters(target: Any) -> dict[str, Parameter]:
    """The settings of a class or function by name, in order, without ``*args`` and ``**kwargs``."""
    is_class = inspect.isclass(target)
    function: Any = target.__init__ if is_class else target
    foreign = not (hasattr(function, "checked") or (is_class and issubclass(target, Group)))
    annotated = target if dataclasses.is_dataclass(target) else function
    try:
        hints = get_type_hints(annotated, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = {}  # of another library, whose annotations are for its own eyes
    return {
        each.name: Parameter(
            hints.get(each.name, Any), each.default is inspect.Parameter.empty, foreign
        )
        for each in signature(target)
        if each.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }


def signature(target: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a class or function takes; anything where it does not say."""
    try:
        return list(inspect.signature(target).parameters.values())
    except ValueError:  # built in
        return [inspect.Parameter("anything", inspect.Parameter.VAR_KEYWORD)]


def check_arguments(
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    name: str = "",
    skip: Collection[str] = (),
) -> None:
    """Compares named arguments with the types of a class or function, and calls nothing.

    Args:
        name: of the part, which messages put before the name of the setting.
        skip: arguments whose values are not known yet.
    Raises SettingError for an unknown argument, a missing argument, a wrong type, or a value out of
    range.
    """
    takes, before = parameters(target), f"{name}." if name else ""
    open_ended = any(each.kind == inspect.Parameter.VAR_KEYWORD for each in signature(target))
    for key, value in arguments.items():
        if key not in takes and not open_ended:
            section = inspect.isclass(target) and issubclass(target, Group)
            title = "there are" if section else f"{target.__qualname__} takes"
            choices = f"{title} {', '.join(takes) or 'none'}"
            raise SettingError(before + key, value, f"there is no such setting; {choices}")
    # In the order of the signature: what others refer to comes first.
    for key, parameter in takes.items():
        if key in arguments and key not in skip:
            parameter(arguments[key], before + key)
        elif parameter.required and key not in skip:
            raise SettingError(before + key, None, f"is missing, it {parameter.allowed}")


def check_node(
    node: Mapping[str, Any], name: str, find: Callable[[str], Callable[..., Any]]
) -> None:
    """Compares the description of a part, and of the parts inside, with their classes.

    Args:
        find: from a ``_target_`` to the class or function.
    Raises SettingError, which names the setting in full.
    """
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    try:
        target = find(node["_target_"])
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SettingError(
            f"{name}._target_", node["_target_"], f"cannot be imported ({reason})"
        ) from error
    if not callable(target):
        raise SettingError(f"{name}._target_", node["_target_"], "must name a class or function")
    check_arguments(target, arguments, name)
    check_inside(arguments, name, find)


def check_inside(value: object, name: str, find: Callable[[str], Callable[..., Any]]) -> None:
    """Checks the parts, see ``check_node``, that mappings and lists hold."""
    if isinstance(value, Mapping) and "_target_" in value:
        check_node(value, name, find)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_inside(item, f"{name}.{key}" if name else str(key), find)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_inside(item, f"{name}[{i}]", find)


C = TypeVar("C", bound=Callable[..., Any])


def checked(target: C) -> C:
    """A decorator: every call compares the plain arguments with their types first.

    Lists become tuples. Modules, tensors and functions are left alone. Defaults are not looked at.
    ``@checked`` stands above the ``@dataclass`` of a class that has both. An object of a class
    knows its arguments, see ``arguments_of``.
    """
    function: Any = target.__init__ if inspect.isclass(target) else target
    takes = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = takes.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says better what is missing
        checks = parameters(target)
        for key, value in bound.arguments.items():
            if key in checks:
                bound.arguments[key] = checks[key](value, key)
        made = function(*bound.args, **bound.kwargs)
        if inspect.isclass(target):
            _remember(target, bound)
        return made

    vars(call)["checked"] = True
    if not inspect.isclass(target):
        return cast(C, call)
    target.__init__ = call  # type: ignore[misc]
    return cast(C, target)


def _remember(target: type, bound: inspect.BoundArguments) -> None:
    """Keeps the arguments of a new object with the object, if all are plain or such objects too."""
    bound.apply_defaults()
    new, *_ = bound.arguments.values()  # self
    kept: dict[str, object] | None = dict(list(bound.arguments.items())[1:])
    for value in kept.values():
        try:
            to_plain(None if arguments_of(value) is not None else no_data(value))
        except TypeError:
            kept = None
            break
    with suppress(AttributeError):  # a class with slots
        # Past the setattr of modules and of frozen dataclasses.
        object.__setattr__(new, MADE_OF, (target, kept))


MOST_ROWS = 1000  # of a list that is a setting, and no data


def no_data(value: object) -> object:
    """The value. Raises TypeError for arrays and long lists of lists: such a value is data, which
    nobody should hold for ever.
    """
    long = isinstance(value, list | tuple) and len(value) > MOST_ROWS
    if isinstance(value, np.ndarray) or (long and isinstance(cast(Any, value)[0], list | tuple)):
        raise TypeError(type(value).__name__)
    return value


def arguments_of(made: object) -> dict[str, Any] | None:
    """The arguments that an object of a ``checked`` class was made of, with those left to their
    defaults: plain values, and objects of which the same can be said. None for other objects.
    """
    target, kept = getattr(made, "__dict__", {}).get(MADE_OF, (None, None))
    return kept if target is type(made) else None


def argument(annotation: Any) -> Callable[[str], Any]:
    """For ``type=`` of argparse: text of the command line as what the type wants."""
    parameter = Parameter(annotation, True)

    def read(text: str) -> Any:
        for kind in (int, float, str):
            try:
                return parameter(kind(text), "")
            except ValueError:  # also SettingError
                continue
        raise argparse.ArgumentTypeError(f"{show(text)}: {parameter.allowed}")

    return read
