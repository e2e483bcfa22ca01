"""Every setting of the YAMLs, found without naming any: what a user may write, and its type."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from ordo.parts import named
from ordo.runs import settings
from ordo.settings import Parameter, Unknown, check_inside, parameters

CONFIGS = Path(__file__).resolve().parents[1] / "src" / "ordo" / "configs"
PARTS = {  # entry point: the groups of its parts
    "train.py": ("data", "denoiser", "schedule", "objective", "optimizer", "callbacks", "logger"),
    "ordo sample": ("sampler",),
    "eval.py": (),
    "ordo export": (),
}
WHOLE = {
    "train.py": settings.Train,
    "eval.py": settings.Eval,
    "ordo sample": settings.Sample,
    "ordo export": settings.Export,
}
NOT_READ = {"shape", "metrics", "report.metrics", "given", "compare.changes"}


@dataclass(frozen=True)
class Setting:
    """One setting of an entry point: full name, type, and what else the command line needs."""

    script: str
    key: str
    parameter: Parameter
    others: tuple[str, ...] = ()


def nodes(value, name):
    """Every node of a YAML that names a class: (its full name, itself)."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield name, value
        for key, item in value.items():
            yield from nodes(item, f"{name}.{key}")


def of_group(group, name):
    """The settings of a section of the run's own."""
    for key, parameter in parameters(group).items():
        full = f"{name}.{key}" if name else key
        yield full, parameter
        if parameter.group is not None:
            yield from of_group(parameter.group, full)


def ours(target):
    return target.startswith("ordo.")


def every_setting():
    """All of them, in the order of the YAMLs."""
    for script, group in WHOLE.items():
        for key, parameter in of_group(group, ""):
            if key not in PARTS[script] and key != "trainer":  # choices of Hydra
                yield Setting(script, key, parameter)
        for part in PARTS[script]:
            for path in sorted((CONFIGS / part).glob("*.yaml")):
                whole = yaml.safe_load(path.read_text())
                asked = [f"{part}.{key}" for key, value in whole.items() if value == "???"]
                for name, node in nodes(whole, part):
                    if not ours(node["_target_"]):
                        continue
                    for key, parameter in parameters(named(node["_target_"])).items():
                        full = f"{name}.{key}"
                        others = [
                            f"{part}={path.stem}",
                            *(f"{need}=gone" for need in asked if need != full),
                        ]
                        yield Setting(script, full, parameter, tuple(others))


def with_unknown(value):
    """A YAML with its interpolations as values that are not known yet."""
    if isinstance(value, dict):
        return {key: with_unknown(item) for key, item in value.items()}
    return Unknown() if isinstance(value, str) and ("${" in value or value == "???") else value


def check_yaml(path, **more):
    """A choice of a group as the check before a run sees it, with more settings."""
    own = yaml.safe_load(path.read_text())
    for name in own.pop("defaults", []):  # a choice of the same group, whose settings it changes
        if isinstance(name, str) and name != "_self_":
            own = yaml.safe_load((path.parent / f"{name}.yaml").read_text()) | own
    whole = with_unknown(own) | more
    check_inside(whole, path.parent.name, named)
