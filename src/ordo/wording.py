"""How messages tell a setting: its value as on the command line, its type in words."""

from __future__ import annotations

import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

LONGEST = 80  # characters of a value that are shown


def show(value: object) -> str:
    """A value as the command line takes it, in one line."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        text = value if value and value.isprintable() else repr(value)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{show(key)}: {show(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, Sequence):
        text = "[" + ", ".join(map(show, value)) + "]"
    elif isinstance(value, int):
        text = str(value) if abs(value) < 10**LONGEST else "a number of more than 80 digits"
    else:
        text = repr(value).partition("\n")[0]
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def members(annotation: Any) -> list[Any]:
    """The alternatives of a union, or the type alone."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    return [each for member in get_args(annotation) for each in members(member)]


def is_plain(annotation: object) -> bool:
    """Whether values of the type are plain: numbers, text, and lists and mappings of these."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return True
    if origin is Annotated:
        return is_plain(inside[0])
    if len(members(annotation)) > 1:
        return all(map(is_plain, members(annotation)))
    if isinstance(origin, type) and issubclass(origin, Collection):
        return all(each is ... or is_plain(each) for each in inside)
    return annotation in (int, float, str, bool, type(None))


def untyped(annotation: object) -> bool:
    """Whether a type says nothing that could be checked here: Any, or a list or mapping of Any."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Collection):
        return any(map(untyped, inside))
    several = members(annotation)
    if len(several) > 1:
        return any(map(untyped, several))
    return annotation in (Any, inspect.Parameter.empty, list, dict, tuple)


def words(annotation: Any, metadata: Sequence[object] = ()) -> str:
    """What a value of a plain type must be."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own = next((each for each in inside[1:] if isinstance(each, str)), "")
        limits = [one for each in inside[1:] for one in getattr(each, "metadata", ())]
        return own or words(inside[0], limits)
    if len(members(annotation)) > 1:
        return ", or ".join(map(words, members(annotation)))
    if origin is Literal:
        names = [str(show(each)) for each in inside]
        return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    limit = {
        name: getattr(each, name)
        for each in metadata
        for name in ("ge", "gt", "le", "lt", "min_length")
        if hasattr(each, name)
    }
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + interval(limit)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping, every value {words(inside[1])}"
    if isinstance(origin, type) and issubclass(origin, Collection):
        n = f" of at least {limit['min_length']}" if "min_length" in limit else ""
        if origin is tuple and inside[-1] is not ...:
            n = f" of {len(inside)}"
        return f"a list{n}, every item {words(inside[0])}"
    return {
        str: "text that is not empty" if "min_length" in limit else "text",
        bool: "true or false",
        type(None): "null",
    }[annotation]


def interval(limit: Mapping[str, float]) -> str:
    """The range of a number in words."""
    low, high = limit.get("ge", limit.get("gt")), limit.get("le", limit.get("lt"))
    if high is None:
        return "" if low is None else f" {'of at least' if 'ge' in limit else 'above'} {low}"
    top = str(high)
    if high >= 10**6 and high == 10 ** (len(top) - 1):
        top = f"{high:.0e}".replace("e+0", "e").replace("e+", "e")
    below = f"below {top}" if "lt" in limit else top
    if "ge" in limit:
        return f" from {low} to {below}"
    return f" above {low}, {'and ' if 'lt' in limit else 'at most '}{below}"
