"""Trained models as folders or on the Hugging Face hub, loaded without executing code.

A saved model is a denoiser, a schedule, and what their tokens mean.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from huggingface_hub import ModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from ordo.asking import Asking
from ordo.data.decoding import KINDS, Decoding, from_plain, to_plain
from ordo.data.text.tokenizer import is_hub_name
from ordo.errors import ConfigError, UntrustedError, first_line
from ordo.files import Json, whole_folder
from ordo.modes import readable
from ordo.parts import from_file, make, make_pair, self_contained, told
from ordo.runs.checkpoint import CheckpointError, find, read, reading
from ordo.runs.folder import FITTED
from ordo.runs.stored import Own, check_trust, described, load
from ordo.schedules import attach_features
from ordo.training.module import OrderDiffusion

FORMAT = 1
WEIGHTS = "model.safetensors"
CARD = """---
{{ card_data }}
---

A masked diffusion model with the law of its decoding order, saved by `ordo`.

```python
from ordo.saved import OrderedModel

model = OrderedModel.from_pretrained("FOLDER_OR_NAME")
print(model.order())
print(model.decode(model.sample(4).tokens))
```
"""


class OrderedModel(Asking, ModelHubMixin, library_name="ordo", model_card_template=CARD):
    """A denoiser and its schedule: asked for samples, likelihoods and more (``Asking``), saved,
    loaded, and pushed to the Hugging Face hub.

    A saved model is ``config.json``, which holds the arguments below, and ``model.safetensors``.
    A part of a class of your own is in config.json by name and sizes alone: give the part again to
    get the weights put into it.

    Args:
        denoiser, schedule: objects, or a class and its plain arguments, as in the YAMLs:
            ``{"_target_": "ordo.schedules.Power", "length": 16, ...}``. The constructor calls the
            class that is named: for a description from a file use ``from_pretrained``.
        data: what tokens mean, ``{"states": ...}`` or ``{"task": ...}``, see ``of_checkpoint``;
            None if nobody needs to know.
    Raises ConfigError for a part that cannot be made, and for parts that do not fit together.
    """

    # Name or folder of a corpus's tokenizer; None: the tokenizer that the file names.
    tokenizer: str | None = None

    def __init__(
        self, denoiser: Json | nn.Module, schedule: Json | nn.Module, data: Json | None = None
    ):
        super().__init__()
        self.data = data or {}
        made: tuple[Any, Any] = make_pair(denoiser, schedule)
        self.denoiser, self.schedule = made
        try:
            attach_features(self.schedule, self.denoiser)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.description: Json = {"ordo": FORMAT}
        for name, part in (("denoiser", denoiser), ("schedule", schedule)):
            made = getattr(self, name)
            known = told(made, name) if part is made else self_contained(made, cast(Json, part))
            self.description[name] = known
        self.description["data"] = self.data

    @classmethod
    def of_checkpoint(
        cls,
        path: str | Path,
        trust: Collection[str] = (),
        tokenizer: str | None = None,
        own: Own | None = None,
    ) -> OrderedModel:
        """The model of a training checkpoint or run folder, in evaluation mode.

        The weights are the averaged ones, where the checkpoint has averaged weights.

        Args:
            trust, tokenizer, own: as in ``from_pretrained``.
        Raises CheckpointError.
        """
        module, config = load(path, trust, own)
        checkpoint = read(path)
        names = [kind.__qualname__ for kind in KINDS]
        states = {name: checkpoint[name] for name in names if name in checkpoint}
        data: Json = {}
        if states:
            with reading(find(path), "what it says of its tokens"):
                data["states"] = to_plain(states)
                Decoding(states).check()
        elif isinstance(config.get("data"), dict) and "task" in config["data"]:
            data["task"] = task_of_file(config["data"]["task"], find(path), trust)
        parts = described(config, path, check_trust(trust), own and of_module(module, own))
        model = cls(parts["denoiser"], parts["schedule"], data)
        model.denoiser, model.schedule = module.denoiser, module.schedule
        model.tokenizer = tokenizer
        return model.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        trust: Collection[str] = (),
        tokenizer: str | None = None,
        own: Own | None = None,
        **settings: Any,
    ) -> OrderedModel:
        """A saved model, in evaluation mode, from a folder or by its name on the hub.

        Nothing in the files of the model is executed: ``config.json`` may name classes of ordo, and
        nothing else.

        Args:
            trust: packages of your own whose classes ``config.json`` may name as well.
            tokenizer: name or folder of a corpus's tokenizer; None: the tokenizer of the hub that
                ``config.json`` names.
            own: the parts of your own, for a model whose parts no file describes.
            settings: revision and others, see ModelHubMixin.
        Raises CheckpointError for what is missing, damaged, not trusted, or no saved model of ordo.
        """
        name, packages = pretrained_model_name_or_path, check_trust(trust)
        try:
            model = super().from_pretrained(name, trust=packages, own=own, **settings)
        except CheckpointError:
            raise
        # No such name, no network, or no JSON object.
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"no saved model of ordo at {name} ({first_line(error)}); "
                "name a folder of save_pretrained"
            ) from error
        model.tokenizer = tokenizer
        return model

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        config: object = None,
        trust: Collection[str] = (),
        own: Own | None = None,
        **settings: Any,
    ) -> OrderedModel:
        parts = ("denoiser", "schedule", "data")
        if (
            not isinstance(config, dict)
            or config.get("ordo") != FORMAT
            or not all(isinstance(config.get(name), dict) for name in parts)
        ):
            raise CheckpointError(
                f"{model_id} holds no model saved by ordo (no config.json of format {FORMAT}); "
                "name a folder of save_pretrained"
            )
        about = described(config, model_id, trust, own)
        data = dict(config["data"])
        if data.get("task") is not None:
            data["task"] = task_of_file(data["task"], model_id, trust)
        with reading(model_id, "what its config.json says of its tokens"):
            Decoding(dict(from_plain(data.get("states", {})))).check()
        folder = Path(model_id)
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        fetch = {name: settings[name] for name in names if name in settings}
        whole = folder.is_dir()
        path = folder / WEIGHTS if whole else Path(hf_hub_download(model_id, WEIGHTS, **fetch))
        again = "save the model again"
        try:
            with reading(model_id, "the model that its config.json describes"):
                model = cls(about["denoiser"], about["schedule"], data)
        except ConfigError as error:
            why = f"config.json does not describe a model ({first_line(error)})"
            raise CheckpointError(f"{model_id}: {why}; {again}") from error
        # What does not fit must not change modules that somebody has given.
        given = own is not None and (own.denoiser is not None or own.schedule is not None)
        tried = copy.deepcopy(model) if given else model
        try:
            missing, unknown = load_model(tried, path, strict=False)
        except (OSError, SafetensorError) as error:
            why = f"it is missing or damaged ({first_line(error)})"
            raise CheckpointError(f"{path} cannot be read: {why}; {again}") from error
        except RuntimeError as error:  # wrong shapes: a headline, and a line for every tensor
            why = str(error).splitlines()[-1].strip()
            raise CheckpointError(f"{path} does not fit config.json: {why}") from error
        if missing or unknown:
            why = f"{min(missing)} is missing" if missing else ""
            why = why or f"{min(unknown)} is unknown to the model"
            raise CheckpointError(f"{path} does not fit config.json: tensor {why}")
        if given:
            load_model(model, path)
        return model.eval().requires_grad_(False)

    def save(self, folder: str | Path) -> Path:
        """Writes the model into a new folder, whole or not at all, for ``ordo.load``.

        Returns the folder. Raises ConfigError where there is something of that name.
        """
        path = Path(folder)
        if path.exists():
            raise ConfigError(f"{path} exists: name a folder that does not exist yet")
        with whole_folder(path) as partial:
            self.save_pretrained(partial)
        return path

    def __repr__(self) -> str:
        words = (type(getattr(part, "module", part)) for part in (self.denoiser, self.schedule))
        denoiser, schedule = (each.__name__ for each in words)
        count = sum(p.numel() for p in self.parameters())
        sizes = f"length={self.denoiser.length}, vocab_size={self.denoiser.vocab_size}"
        return f"OrderedModel({denoiser}, {schedule}, {sizes}, {count:,} parameters)"

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self, str(save_directory / WEIGHTS))
        readable(save_directory / WEIGHTS)
        text = json.dumps(self.description, indent=2) + "\n"
        (save_directory / "config.json").write_text(text, encoding="utf-8")

    @cached_property
    def decoding(self) -> Decoding:
        """What tokens mean."""
        states, task = from_plain(self.data.get("states", {})), self.data.get("task")
        return Decoding(states, None if task is None else make(task, "task"), self.tokenizer)

    def decode(self, tokens: Tensor, seed: int = 0) -> list[str] | pd.DataFrame:
        """Sequences as text, or as a table.

        Args:
            tokens: (n, length).
            seed: the numbers of a table are redrawn within their bins, as a function of this seed.
        Raises DataError where nothing is known of the tokens, or the tokenizer cannot be had.
        """
        return self.decoding(tokens, seed)


def of_module(module: OrderDiffusion, own: Own) -> Own:
    """The parts of one's own as they are in the module: a network is wrapped there."""
    return Own(
        None if own.denoiser is None else module.denoiser,
        None if own.schedule is None else module.schedule,
    )


def task_of_file(node: object, path: str | Path, trust: Collection[str]) -> Json:
    """The law of a synthetic task that a file describes, checked. Raises CheckpointError."""
    try:
        return from_file(node, "task", "data.task", trust)
    except UntrustedError as error:
        raise CheckpointError(f"{path}: {error}") from error


def is_on_hub(name: str) -> bool:
    """Whether a name is OWNER/NAME and nothing of this machine, such as a run's folder mistyped."""
    local = Path(name).exists() or (Path(name).parent != Path() and Path(name).parent.exists())
    return not local and "/" in name and not name.endswith(".ckpt") and is_hub_name(name)


def open_model(
    path: str | Path,
    trust: Collection[str] = (),
    tokenizer: str | None = None,
    *,
    denoiser: nn.Module | None = None,
    schedule: nn.Module | None = None,
) -> OrderedModel:
    """A trained model, in evaluation mode: of a folder of ``save``, a training checkpoint, the
    folder of a run or of ``ordo.fit``, or of a name on the Hugging Face hub.

    Nothing in the files is executed, and they may name classes of ordo alone.

    Args:
        trust, tokenizer: as in ``OrderedModel.from_pretrained``.
        denoiser, schedule: parts of your own, which no file describes. The weights are put into
            them, in place, and want no gradient from then on; ``requires_grad_()`` of the model
            changes that. A network that is no denoiser is wrapped, see ``ordo.denoisers.wrap``.
    Raises CheckpointError.
    """
    own = Own(denoiser, schedule)
    fitted = Path(path) / FITTED
    path = fitted if (fitted / "config.json").is_file() else path
    saved = (Path(path) / "config.json").is_file() or is_on_hub(str(path))
    read_model = OrderedModel.from_pretrained if saved else OrderedModel.of_checkpoint
    return read_model(path, trust=trust, tokenizer=tokenizer, own=own)
