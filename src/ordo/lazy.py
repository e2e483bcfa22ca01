"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any


def lazily(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for the package, which also knows the modules in it.

    Args:
        package: ``__name__`` of the package.
        names: name -> the module that has an object of that name, or ``module:other name``.
    """

    def get(name: str) -> Any:
        if name not in names:
            if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
                return importlib.import_module(f"{package}.{name}")
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        module, _, other = names[name].partition(":")
        return getattr(importlib.import_module(module), other or name)

    return get
