"""Masked-language models of Hugging Face, and any other function from token ids to logits, as
denoisers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ordo.denoisers.sets import SetDenoiser


class MaskedLM(SetDenoiser):
    """A masked-language model as a denoiser: token ids are the model's own, and the mask id of ordo
    is ``vocab_size``, one beyond them.

    Args:
        logits: ``logits(ids, attention_mask) -> (batch, length, vocab_size)``, attention_mask
            (batch, length) int64 or None. A model that is an ``nn.Module`` is registered as a
            submodule.
        vocab_size: ids of the model, its mask token included.
        mask_token: the model's id of the mask.
        length: positions of a sequence.
        forbidden: ids that are never drawn, besides the mask: padding, separators.

    Raises ValueError for ids out of range.
    """

    never: Tensor

    def __init__(
        self,
        logits: Callable[[Tensor, Tensor | None], Tensor],
        vocab_size: int,
        mask_token: int,
        length: int,
        forbidden: Sequence[int] = (),
    ):
        super().__init__()
        never = sorted({mask_token, *forbidden})
        if never[0] < 0 or never[-1] >= vocab_size:
            raise ValueError(
                f"mask_token and forbidden must be ids in 0..{vocab_size - 1}, got {never}"
            )
        self.logits = logits
        self.vocab_size = self.mask_id = vocab_size
        self.length, self.mask_token = length, mask_token
        self.register_buffer("never", torch.tensor(never), persistent=False)

    @classmethod
    def of_model(
        cls, model: nn.Module, mask_token: int, length: int, forbidden: Sequence[int] = ()
    ) -> MaskedLM:
        """model: called as ``model(input_ids=, attention_mask=).logits``, such as an
        ``AutoModelForMaskedLM`` or LLaDA.
        """
        # The output embeddings may have more rows than config.vocab_size.
        vocab_size = model.get_output_embeddings().weight.shape[0]  # type: ignore[operator]
        return cls(_Logits(model), vocab_size, mask_token, length, forbidden)

    @classmethod
    def from_pretrained(cls, name: str, length: int) -> MaskedLM:
        """A model of the hub or of a folder, with its tokenizer's mask; all special tokens are
        forbidden. Runs no code that comes with the model.

        Raises ValueError where the tokenizer has no mask token.
        """
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"the tokenizer of {name} has no mask token; use MaskedLM.of_model with the id the "
                "model was trained with"
            )
        model = AutoModelForMaskedLM.from_pretrained(name, trust_remote_code=False).eval()
        return cls.of_model(model, tokenizer.mask_token_id, length, tokenizer.all_special_ids)

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer; logits -inf for ids that are never drawn."""
        ids = tokens.masked_fill(tokens == self.mask_id, self.mask_token)
        out = self.logits(ids, None if present is None else present.long())
        return (out if where is None else out[where]).index_fill(-1, self.never, -torch.inf)


class _Logits(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self.model(input_ids=ids, attention_mask=attention_mask).logits
