"""What a run is called: a folder of its own, and a label that tells it apart from other runs of the
same experiment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

# These say where and how a run is made, not what it is; the seed has its own place in a label.
LEFT_OUT = (
    "experiment",
    "name",
    "label",
    "output",
    "resume",
    "overwrite",
    "quiet",
    "threads",
    "seed",
    "logger",
)
LABEL_CHARACTERS = 100  # W&B takes 128


def label(config: DictConfig, overrides: Sequence[str]) -> str:
    """``NAME key=value ... seed=N``: the name, what the command line changes (the last part of a
    path), and the seed. See ``_fitted`` for a label that would be too long.
    """
    parts = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = str(override.get_key_element())
        if key.lstrip("+~").split(".")[0] in LEFT_OUT or key.lstrip("+~").startswith("hydra"):
            continue
        value = override.get_value_element_as_str().rstrip("/").rpartition("/")[2]
        parts[key] = "" if override.is_delete() else f"={value}"
    ends = str(config.name), f"seed={config.seed}"
    most = LABEL_CHARACTERS - sum(map(len, ends)) - 2
    settings = _fitted(dict(sorted(parts.items())), most)  # in whichever order they were given
    return " ".join(part for part in (ends[0], settings, ends[1]) if part)


def _fitted(parts: dict[str, str], most: int) -> str:
    """Keys and values on a line of at most ``most`` characters, on which every setting is told.

    Where the line would be longer, ``optimizer.lr`` becomes ``lr``, if no other key ends so. Where
    that is not enough, the longest settings lose their middles: runs of a sweep often differ at the
    end of a setting. Where even that is not enough, the line loses its end.
    """
    whole = [key + value for key, value in parts.items()]
    last = [key.rpartition(".")[2] for key in parts]
    if len(" ".join(whole)) > most:
        # The sign of a key that is added or taken away stays.
        whole = [
            (key[0] if key[0] in "+~" and "." in key else "") + name + value
            if last.count(name) == 1
            else key + value
            for (key, value), name in zip(parts.items(), last, strict=True)
        ]
    room = max(map(len, whole), default=0)
    while room > 6 and len(" ".join(_cut(part, room) for part in whole)) > most:
        room -= 1
    line = " ".join(_cut(part, room) for part in whole)
    return line if len(line) <= most else line[: max(0, most - 1)] + "…"


def _cut(text: str, most: int) -> str:
    """The text, without its middle where there are more than ``most`` characters."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def named_by_time(config: DictConfig) -> bool:
    """Whether ``output`` is named by the time of day, as it is unless the user names it."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    return "${now:" in str(raw["output"])


@contextmanager
def own_folder(config: DictConfig, but: str = "") -> Iterator[Path]:
    """``config.output``, made, and taken away on the way out if nothing has come into the folder,
    or nothing but a file of the name ``but``.

    A folder that is named by the time of day belongs to one run: if two runs start in one second,
    the second run waits for the next second.
    """
    folder, ours = Path(str(config.output)), named_by_time(config)
    made = []
    while True:
        parents = [path for path in folder.parents if not path.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
            made = [folder, *parents]
            break
        except FileExistsError:
            if not ours:
                break
            time.sleep(1.05 - time.time() % 1)
            OmegaConf.clear_cache(config)  # the next look at ${now:...} tells the time anew
            folder = Path(str(config.output))
    try:
        yield folder
    finally:
        if made and [path.name for path in folder.iterdir()] == [but]:
            (folder / but).unlink()
        for path in made:  # innermost first
            if any(path.iterdir()):
                break
            path.rmdir()
