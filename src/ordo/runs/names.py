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
    path), and the seed.
    """
    parts = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = str(override.get_key_element())
        if key.lstrip("+~").split(".")[0] in LEFT_OUT or key.lstrip("+~").startswith("hydra"):
            continue
        value = override.get_value_element_as_str()
        parts.append(
            f"{key}={value.rstrip('/').rpartition('/')[2]}" if not override.is_delete() else key
        )
    ends = str(config.name), f"seed={config.seed}"
    most = LABEL_CHARACTERS - sum(map(len, ends)) - 2
    settings = " ".join(sorted(parts))  # in whichever order they were given
    settings = settings if len(settings) <= most else settings[: max(0, most - 1)] + "…"
    return " ".join(part for part in (ends[0], settings, ends[1]) if part)


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
