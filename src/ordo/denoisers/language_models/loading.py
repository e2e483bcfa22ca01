"""Language models of Hugging Face: found and checked, or built from plain values, without running
code that comes with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Left out of a model's configuration, besides names with an underscore: code and kernels that the
# model would fetch, and how its weights were stored.
NOT_KEPT = (
    "auto_map",
    "attn_implementation",
    "experts_implementation",
    "quantization_config",
    "dtype",
    "torch_dtype",
)


def longest(model: PreTrainedModel) -> int | None:
    """Number of positions of a model; None where nothing says so. Some models count learned
    positions from behind the padding's (RoBERTa).
    """
    most = getattr(model.config, "max_position_embeddings", None)
    tables = [
        part
        for name, part in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding)
    ]
    if most is None or not tables or tables[0].padding_idx is None:
        return most
    return most - tables[0].padding_idx - 1


def plain_config(model: PreTrainedModel) -> dict[str, object]:
    """A model's configuration as plain values, its architecture alone."""
    return architecture(json.loads(model.config.to_json_string(use_diff=False)))


def architecture(config: Any) -> Any:
    """Plain values without ``NOT_KEPT`` names, at any depth: a model may be made of several."""
    if isinstance(config, list):
        return [architecture(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        name: architecture(value)
        for name, value in config.items()
        if name not in NOT_KEPT and not str(name).startswith("_")
    }


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def build_model(config: Mapping[str, object], causal: bool) -> Any:
    """A model with random weights. Raises ValueError for what is no configuration of a model of
    this kind.
    """
    # Takes seconds to import.
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    auto = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    try:
        return auto.from_config(
            AutoConfig.for_model(**architecture(config)), trust_remote_code=False
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            "this installation of transformers cannot build the model "
            f"{config.get('model_type')!r}: {first_line(error)}"
        ) from None


def load_model(name: str, causal: bool, revision: str | None) -> Any:
    """A model with its weights. Raises ValueError for a model that cannot be found, is of another
    kind, or would need code that comes with it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    auto, kind = (AutoModelForCausalLM, "causal") if causal else (AutoModelForMaskedLM, "masked")
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        if type(config) in auto._model_mapping:
            return auto.from_pretrained(
                name, config=config, revision=revision, trust_remote_code=False
            )
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"{name} needs code of its own, which is never run; take a model that transformers "
                "has"
            ) from None
        raise ValueError(
            f"no model {name!r} ({first_line(error)}); give denoiser.name the name of one on the "
            "hub (without a network, of one fetched before) or a folder"
        ) from None
    raise ValueError(
        f"{name} is no {kind} language model of transformers, but {config.model_type}; choose "
        "denoiser=masked_lm or causal_lm"
    )


def load_tokenizer(
    name: str, vocab_size: int, data_tokenizer: str | None, revision: str | None
) -> Any:
    """The tokenizer of a model. Raises ValueError where it cannot be found, or where the data's ids
    are not its ids.
    """
    from transformers import AutoTokenizer

    def load(name: str, revision: str | None) -> PreTrainedTokenizerBase:
        try:
            return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no tokenizer {name!r} ({first_line(error)}); name a model of the hub or a folder "
                "that has one"
            ) from None

    own = load(name, revision)
    mend = f"use data=corpus data.tokenizer={name}"
    if len(own) != vocab_size:
        raise ValueError(
            f"the data have {vocab_size} token ids, the tokenizer of {name} has {len(own)}; {mend}"
        )
    if (
        data_tokenizer not in (None, name)
        and load(data_tokenizer, None).get_vocab() != own.get_vocab()
    ):
        raise ValueError(
            f"the tokenizer {data_tokenizer} of the data is not that of {name}: ids mean other "
            f"tokens; {mend}"
        )
    return own
