"""Denoisers that start from a masked or causal language model of Hugging Face."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ordo.denoisers.language_models.loading import (
    build_model,
    load_model,
    load_tokenizer,
    longest,
    plain_config,
)
from ordo.denoisers.layers import head_cost
from ordo.denoisers.sets import SetDenoiser
from ordo.settings import Size, Text, Whole, checked


@checked
class PretrainedDenoiser(SetDenoiser):
    """A language model of ``transformers``, with the tokenizer's own ids, as a denoiser that sees
    every revealed token and can be trained.

    Attention of a causal model is made bidirectional from the first step on (its configuration's
    ``is_causal``). Its logits stay *shifted*, as it was trained: the logits at position l - 1 are
    of token l. Adapted models keep the shift (DiffuLLaMA, Gong et al. 2410.17891; Dream, Ye et al.
    2508.15487), but never mask the first position, or predict it without a shift. Here a ``begin``
    token, never masked, stands before the sequence and predicts the first position. The mask is a
    new row of the embeddings, the mean of all others (Hewitt 2021, *Initializing New Word
    Embeddings for Pretrained Language Models*).

    The mask of a masked model is its own mask token, and never a class: its logit is -inf. Ids of
    the model beyond ``vocab_size`` are no classes either. Dropout is as in the model's
    configuration. Weights are float32.

    Args:
        config: of the model, as plain values, ``model_type`` among them; see ``arguments``.
        vocab_size: ids of the tokenizer; the mask id of ordo is one beyond.
        length: positions.
        mask_token: the model's id of the mask.
        causal: a causal model, not a masked one.
        begin: id that stands before every sequence, from whose position on logits are shifted;
            None: no id, and no shift.
        recompute: compute each block again in the backward pass instead of keeping what is inside.
        model: with weights; None: random ones, to be loaded. Nothing is fetched.

    Raises ValueError for a model that is too small or cannot be made bidirectional.
    """

    never: Tensor

    def __init__(
        self,
        config: dict[str, Any],
        vocab_size: Size,
        length: Size,
        mask_token: Whole,
        causal: bool = False,
        begin: Whole | None = None,
        recompute: bool = False,
        model: nn.Module | None = None,
    ):
        super().__init__()
        self.vocab_size = self.mask_id = vocab_size
        self.length, self.mask_token, self.causal = length, mask_token, causal
        self.begin, self.recompute = begin, recompute
        self.model: Any = (build_model(config, causal) if model is None else model).float()
        self.check_sizes()
        never = [mask_token] if mask_token < vocab_size else []
        self.register_buffer("never", torch.tensor(never, dtype=torch.int64), persistent=False)
        if causal:
            self.model.config.is_causal = False
            for part in self.model.modules():
                if getattr(part, "is_causal", None) is True:
                    part.is_causal = False  # type: ignore[assignment]
        if recompute:
            older = self.model.gradient_checkpointing_enable
            getattr(self.model, "activation_checkpointing_enable", older)({"use_reentrant": False})
        # Shares its modules with the model: the tuple keeps it from being registered.
        self.rest = (without_body(self.model),)
        self.check_calls()

    @classmethod
    @checked
    def from_masked_lm(
        cls,
        name: Text,
        vocab_size: Size,
        length: Size,
        tokenizer: Text | None = None,
        revision: Text | None = None,
        recompute: bool = False,
    ) -> PretrainedDenoiser:
        """From a masked model, such as BERT: a name on the hub, or a folder. Runs no code that
        comes with the model.

        tokenizer: name of the data's tokenizer, whose ids must be the model's; None: only their
            number is checked.

        Raises ValueError for what cannot be found or does not fit.
        """
        own = load_tokenizer(name, vocab_size, tokenizer, revision)
        if own.mask_token_id is None:
            raise ValueError(
                f"the tokenizer of {name} has no mask token; take a masked-language model, or "
                "denoiser=causal_lm"
            )
        model = load_model(name, False, revision)
        config, mask = plain_config(model), own.mask_token_id
        return cls(config, vocab_size, length, mask, recompute=recompute, model=model)

    @classmethod
    @checked
    def from_causal_lm(
        cls,
        name: Text,
        vocab_size: Size,
        length: Size,
        tokenizer: Text | None = None,
        shift: bool = True,
        revision: Text | None = None,
        recompute: bool = False,
    ) -> PretrainedDenoiser:
        """From a causal model, such as GPT-2, Llama or Qwen: a name on the hub, or a folder. Runs
        no code that comes with the model.

        Args:
            tokenizer: as of ``from_masked_lm``.
            shift: keep the model's shift, with the tokenizer's begin token before every sequence,
                or its end token if it has no begin token.

        Raises ValueError for what cannot be found or does not fit.
        """
        own = load_tokenizer(name, vocab_size, tokenizer, revision)
        begin = own.bos_token_id if own.bos_token_id is not None else own.eos_token_id
        if shift and begin is None:
            raise ValueError(
                f"the tokenizer of {name} has neither a begin nor an end token to predict the "
                "first position from; set shift=false"
            )
        model = load_model(name, True, revision)
        rows = model.get_input_embeddings().weight.shape[0]
        if rows >= vocab_size:  # if not, an error says so below
            model.resize_token_embeddings(rows + 1, mean_resizing=False)
            with torch.no_grad():
                table = model.get_input_embeddings().weight
                table[rows] = table[:vocab_size].mean(0)
        config, begin = plain_config(model), begin if shift else None
        return cls(config, vocab_size, length, rows, True, begin, recompute, model)

    @property
    def arguments(self) -> dict[str, object]:
        """Arguments of the constructor, plain values: from these and a state dict the denoiser is
        made again, without the model it started from.
        """
        names = ("vocab_size", "length", "mask_token", "causal", "begin", "recompute")
        own: dict[str, object] = {name: getattr(self, name) for name in names}
        return {"config": plain_config(self.model), **own}

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer; only the positions ``where`` go through the output head."""
        x = self.features(tokens, present)
        return self.read_out(x if where is None else x[where])

    def nll(
        self, tokens: Tensor, at: Tensor, target: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer."""
        x = self.features(tokens, present).flatten(0, 1)[at]
        return head_cost(lambda some, _: self.read_out(some), x, at, target, self.vocab_size)

    def features(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """What logits are read from, (batch, length, width). If the model's head cannot be called
        by itself, these are its logits.
        """
        ids = tokens.masked_fill(tokens == self.mask_id, self.mask_token)
        if self.begin is not None:
            ids = nn.functional.pad(ids, (1, 0), value=self.begin)
            present = None if present is None else nn.functional.pad(present, (1, 0), value=True)
        x = self.body(ids, None if present is None else present.long())
        return x if self.begin is None else x[:, :-1]

    def body(self, ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """What the model's body gives, (batch, length, width)."""
        body = self.model.base_model if self.rest else self.model
        cache = {"use_cache": False} if self.causal else {}
        return body(input_ids=ids, attention_mask=attention_mask, **cache)[0]

    def read_out(self, x: Tensor) -> Tensor:
        """Features (..., width) to logits (..., vocab_size)."""
        logits = x
        if self.rest:
            rows = self.rest[0](input_ids=x.flatten(0, -2)[None])[0].squeeze(0)
            logits = rows.unflatten(0, x.shape[:-1])
        return logits[..., : self.vocab_size].index_fill(-1, self.never, -torch.inf)

    def check_sizes(self) -> None:
        """Raises ValueError for too few ids or positions."""
        rows = min(
            self.model.get_input_embeddings().weight.shape[0],
            self.model.get_output_embeddings().weight.shape[0],
        )
        if max(self.vocab_size, self.mask_token + 1) > rows:
            raise ValueError(
                f"the model has {rows} token ids, fewer than the {self.vocab_size} of the "
                "tokenizer; use the one it came with"
            )
        most, extra = longest(self.model), self.begin is not None
        if most is not None and self.length + extra > most:
            begin = " and the begin token" if extra else ""
            raise ValueError(
                f"length={self.length}{begin}: the model has {most} positions; "
                f"use data.length={most - extra} or less"
            )

    @torch.no_grad()
    def check_calls(self) -> None:
        """Calls on a few tokens. Is the head by itself what it is in the model? Does the first
        position see the last one?
        """
        training = self.model.training
        self.model.eval()
        no_padding = 1 if self.model.config.pad_token_id == 0 else 0
        tokens = torch.full((2, min(3, self.length)), no_padding, device=self.device)
        tokens[1, -1] = self.mask_id
        try:
            parts = self(tokens)
        except (AttributeError, TypeError):  # the model asks for more of its body than features
            parts = None
        apart, self.rest = self.rest, ()
        whole = self(tokens)
        if parts is not None and torch.allclose(parts, whole, rtol=1e-4, atol=1e-5):
            self.rest = apart
        self.model.train(training)
        if tokens.shape[1] > 1 and torch.equal(whole[0, 0], whole[1, 0]):
            name = type(self.model).__name__
            raise ValueError(
                f"{name} cannot be made bidirectional: its first position does not see later ones; "
                "take another model"
            )


class _Output:
    """What a head asks of its model's body: features, and None for caches, attentions and so on."""

    def __init__(self, features: Tensor):
        self.last_hidden_state = features

    def __getitem__(self, index: int) -> Tensor:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        return None


class _NoBody(nn.Module):
    def forward(self, input_ids: Tensor, *_: object, **__: object) -> _Output:
        return _Output(input_ids)


def without_body(model: Any) -> Any:
    """The same model, weights shared, but called with features as its ``input_ids``: what the model
    does after its body, whatever that is.
    """
    rest = copy.copy(model)
    rest._modules = {**model._modules, model.base_model_prefix: _NoBody()}
    return rest
