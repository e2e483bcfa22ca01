"""In which settings runs differ."""

from __future__ import annotations

import json
from typing import Any

# What a run is called, where it lives and what is read off its data say nothing about how it was trained, ...
LEFT_OUT = (
    "output",
    "resume",
    "overwrite",
    "label",
    "quiet",
    "shape",
    "compare",
    "callbacks.progress",
)
# ... and these repeat other settings (${...} in configs/).
REPEATED = (
    "optimizer.total_steps",
    "trainer.max_steps",
    "trainer.val_check_interval",
    "callbacks.last.every",
    "logger.wandb.name",
)
READ_OFF = ("length", "vocab_size", "vocab_sizes", "ordered", "coordinates", "given")


def flat(node: Any, output: str, path: str = "") -> dict[str, Any]:
    """Settings by dotted name, without those that repeat others; ``output``: the run's own folder, which is no setting."""
    if (
        path in LEFT_OUT
        or path in REPEATED
        or (path.split(".")[0] not in ("", "data") and path.rpartition(".")[2] in READ_OFF)
    ):
        return {}
    if isinstance(node, dict) and node:
        return {
            k: v
            for key, value in node.items()
            for k, v in flat(value, output, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(node, str):
        return {path: node.replace(output, "OUTPUT")}
    return {
        path: node if isinstance(node, bool | int | float) else json.dumps(node)
    }  # None as null: a setting that is absent is None


def differing(runs: list[dict[str, Any]]) -> list[str]:
    """Names of the settings in which runs differ. What only some runs have, because another setting has brought it, is not one of them."""
    found = []
    for key in dict.fromkeys(key for run in runs for key in run):
        parents = [key[:i] for i, character in enumerate(key) if character == "."]
        brought = [
            name for p in parents for name in (p, f"{p}._target_") if name != key
        ]  # a part that is null, or another class
        by_part: dict[tuple[Any, ...], set[bool]] = {}
        for run in runs:
            by_part.setdefault(tuple(run.get(name, "absent") for name in brought), set()).add(
                key in run
            )
        values = {repr(run[key]) for run in runs if key in run}
        whole = key.rpartition(".")[2]  # data.seed is ${seed}, unless it has been set apart
        if whole != key and all(
            whole in run and run[key] == run[whole] for run in runs if key in run
        ):
            continue
        if len(values) > 1 or any(len(present) > 1 for present in by_part.values()):
            found.append(key)
    return found


def shown(name: str, value: Any) -> str:
    """A setting in a table: a class by its name alone."""
    if value is None or value != value:
        return "-"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.rpartition(".")[2] if name.endswith("_target_") else text
