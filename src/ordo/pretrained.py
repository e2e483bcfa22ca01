"""Trained models as folders or on the Hugging Face hub: denoiser, schedule, and what their tokens mean, loaded without executing code."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelHubMixin, hf_hub_download
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from ordo.data.decoding import KINDS, Decoding, from_plain, to_plain
from ordo.denoisers import Denoiser
from ordo.modes import readable
from ordo.schedules import attach_features
from ordo.training.build import ConfigError, build, first_line, self_contained
from ordo.training.checkpoint import CheckpointError, check_targets, load, read

FORMAT = 1
WEIGHTS = "model.safetensors"
CARD = """---
{{ card_data }}
---

A masked diffusion model with the law of its decoding order, saved by `ordo`.

```python
from ordo.pretrained import OrderedModel
from ordo.samplers import Sampler, sample

model = OrderedModel.from_pretrained("FOLDER_OR_NAME")
trace = sample(model.denoiser, Sampler(), 4, schedule=model.schedule)
print(model.decode(trace.tokens))
```
"""


class OrderedModel(nn.Module, ModelHubMixin, library_name="ordo", model_card_template=CARD):
    """A denoiser and its schedule, with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    A saved model is ``config.json``, the arguments below, and ``model.safetensors``.

    Args:
        denoiser, schedule: ``{"_target_": "ordo.schedules.Power", "length": 16, ...}``: a class and its plain arguments, as in the YAMLs.
        data: what tokens mean, None if nobody needs to know: ``{"states": ...}`` or ``{"task": ...}``, see ``of_checkpoint``.
    Raises ConfigError for a part that cannot be made, or does not fit the other.
    """

    def __init__(self, denoiser: dict[str, Any], schedule: dict[str, Any], data: dict[str, Any] | None = None):
        super().__init__()
        self.data = data or {}
        self.denoiser: Denoiser = build(DictConfig(denoiser), "denoiser")
        self.schedule: Any = build(DictConfig(schedule), "schedule")
        if self.schedule.length != self.denoiser.length:
            raise ConfigError(f"the schedule has {self.schedule.length} positions, the denoiser {self.denoiser.length}")
        try:
            attach_features(self.schedule, self.denoiser)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.description = {"ordo": FORMAT, "denoiser": self_contained(self.denoiser, denoiser), "schedule": schedule, "data": self.data}

    @classmethod
    def of_checkpoint(cls, path: str | Path) -> OrderedModel:
        """The model of a training checkpoint or run folder, with averaged weights where it has them, in evaluation mode.

        Raises CheckpointError.
        """
        module, config = load(path)
        checkpoint = read(path)
        states = {kind.__qualname__: checkpoint[kind.__qualname__] for kind in KINDS if kind.__qualname__ in checkpoint}
        data: dict[str, Any] = {}
        if states:
            data["states"] = to_plain(states)
        elif "task" in config.data:
            data["task"] = OmegaConf.to_container(config.data.task)
        model = cls(OmegaConf.to_container(config.denoiser), OmegaConf.to_container(config.schedule), data)  # type: ignore[arg-type]
        model.denoiser, model.schedule = module.denoiser, module.schedule
        return model.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **settings: Any) -> OrderedModel:  # type: ignore[override]
        """A saved model, in evaluation mode, from a folder or by its name on the hub. Settings: revision and others, see ModelHubMixin.

        Raises CheckpointError for what is missing, damaged, or no saved model of ordo. Modules and laws that ``config.json`` names are
        imported and constructed; anything else is refused.
        """
        name = pretrained_model_name_or_path
        try:
            return super().from_pretrained(name, **settings)
        except CheckpointError:
            raise
        except (OSError, ValueError) as error:  # no such folder or name, no network, no JSON, a part's own complaint
            raise CheckpointError(f"no saved model of ordo at {name} ({first_line(error)}); name a folder of save_pretrained") from error

    @classmethod
    def _from_pretrained(cls, *, model_id: str, config: Any = None, **settings: Any) -> OrderedModel:
        parts = ("denoiser", "schedule", "data")
        if not isinstance(config, dict) or config.get("ordo") != FORMAT or not all(isinstance(config.get(name), dict) for name in parts):
            raise CheckpointError(
                f"{model_id} holds no model saved by ordo (no config.json of format {FORMAT}); name a folder of save_pretrained"
            )
        for name in ("denoiser", "schedule"):
            check_targets(DictConfig(config[name]), Path(model_id))
        check_targets(DictConfig(config["data"].get("task", {})), Path(model_id))
        folder = Path(model_id)
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        fetch = {name: settings[name] for name in names if name in settings}
        path = folder / WEIGHTS if folder.is_dir() else Path(hf_hub_download(model_id, WEIGHTS, **fetch))
        try:
            model = cls(*(config[name] for name in parts))
        except ConfigError as error:
            raise CheckpointError(
                f"{model_id}: config.json does not describe a model ({first_line(error)}); save the model again"
            ) from error
        try:
            missing, unknown = load_model(model, path, strict=False)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: it is missing or damaged ({first_line(error)}); save the model again") from error
        except RuntimeError as error:  # shapes; a line for every tensor after a headline
            raise CheckpointError(f"{path} does not fit config.json: {str(error).splitlines()[-1].strip()}") from error
        if missing or unknown:
            problem = f"{min(missing)} is missing" if missing else f"{min(unknown)} is unknown to the model"
            raise CheckpointError(f"{path} does not fit config.json: tensor {problem}")
        return model.eval().requires_grad_(False)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self, str(save_directory / WEIGHTS))
        readable(save_directory / WEIGHTS)
        (save_directory / "config.json").write_text(json.dumps(self.description, indent=2) + "\n", encoding="utf-8")

    @cached_property
    def decoding(self) -> Decoding:
        """What tokens mean."""
        task = self.data.get("task")
        return Decoding(from_plain(self.data.get("states", {})), None if task is None else instantiate(task))

    def decode(self, tokens: Tensor, seed: int = 0) -> list[str] | pd.DataFrame:
        """Sequences (n, length) as text, or as a table whose numbers are redrawn within their bins, a function of ``seed``.

        Raises DataError where nothing is known of the tokens, or the tokenizer is not to be had.
        """
        return self.decoding(tokens, seed)


def open_model(path: str | Path) -> OrderedModel:
    """Of a folder of ``save_pretrained``, a training checkpoint, or a run folder. Raises CheckpointError."""
    return OrderedModel.from_pretrained(path) if (Path(path) / "config.json").is_file() else OrderedModel.of_checkpoint(path)
