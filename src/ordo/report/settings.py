"""In which settings runs differ."""

from __future__ import annotations

import json

Setting = bool | int | float | str
# These say nothing about how a run was trained: its name, its place, what is read off its data.
LEFT_OUT = (
    "output", "resume", "overwrite", "label", "quiet", "shape", "compare", "callbacks.progress",
)  # fmt: skip
READ_OFF = ("length", "vocab_size", "vocab_sizes", "ordered", "coordinates", "given")
# These repeat other settings (${...} in src/ordo/configs/).
REPEATED = (
    "optimizer.total_steps", "trainer.max_steps", "trainer.val_check_interval",
    "callbacks.last.every", "logger.wandb.name",
)  # fmt: skip


def flat(node: object, output: str, path: str = "") -> dict[str, Setting]:
    """Settings by dotted name, without those that repeat others.

    Args:
        output: the run's own folder, which is no setting; empty where it is not known.
    """
    section, name = path.split(".")[0], path.rpartition(".")[2]
    read_off = section not in ("", "data") and name in READ_OFF
    if path in LEFT_OUT or path in REPEATED or read_off:
        return {}
    if isinstance(node, dict) and node:
        out: dict[str, Setting] = {}
        for key, value in node.items():
            out |= flat(value, output, f"{path}.{key}" if path else str(key))
        return out
    if isinstance(node, str):
        return {path: node.replace(output, "OUTPUT") if output else node}
    # None becomes null: a setting that is absent is None.
    return {path: node if isinstance(node, bool | int | float) else json.dumps(node)}


def differing(runs: list[dict[str, Setting]]) -> list[str]:
    """Names of the settings in which runs differ.

    A setting that only some runs have, because another setting has brought it, is left out.
    """
    found = []
    for key in dict.fromkeys(key for run in runs for key in run):
        parents = [key[:i] for i, character in enumerate(key) if character == "."]
        # A setting is brought by a part that is null elsewhere, or of another class.
        brought = [name for p in parents for name in (p, f"{p}._target_") if name != key]
        by_part: dict[tuple[Setting, ...], set[bool]] = {}
        for run in runs:
            part = tuple(run.get(name, "absent") for name in brought)
            by_part.setdefault(part, set()).add(key in run)
        values = {repr(run[key]) for run in runs if key in run}
        whole = key.rpartition(".")[2]  # data.seed is ${seed}, unless it has been set apart
        own = [run for run in runs if key in run]
        if whole != key and all(whole in run and run[key] == run[whole] for run in own):
            continue
        if len(values) > 1 or any(len(present) > 1 for present in by_part.values()):
            found.append(key)
    return found


def short_names(names: list[str]) -> dict[str, str]:
    """For every setting the shortest end of its dotted name that no other setting has.

    The class of a part goes by the name of the part.
    """
    plain = {name: name.removesuffix("._target_").split(".") for name in names}

    def end(parts: list[str], n: int) -> str:
        return ".".join(parts[-n:])

    out = {}
    for name, parts in plain.items():
        others = [other for key, other in plain.items() if key != name]
        lengths = range(1, len(parts) + 1)
        unique = (n for n in lengths if end(parts, n) not in {end(o, n) for o in others})
        out[name] = end(parts, next(unique, len(parts)))
    return out


def setting_text(name: str, value: Setting | None) -> str:
    """A setting in a table: a class by its name alone, a dash for what is absent or NaN."""
    if value is None or value != value:
        return "-"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.rpartition(".")[2] if name.endswith("_target_") else text
