"""Denoisers: networks that know tokens and orders, and nothing of schedules."""

from typing import Protocol

import torch
from torch import Tensor

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.language_models.hugging_face import MaskedLM
from ordo.denoisers.language_models.pretrained import PretrainedDenoiser
from ordo.denoisers.oracle import ChainOracle, TableOracle
from ordo.denoisers.order_causal import OrderCausalTransformer
from ordo.denoisers.sets import Session, SetDenoiser, begin_session
from ordo.denoisers.table import OrderCausalTableTransformer, TableTransformer


class Denoiser(Protocol):
    """What objectives, likelihoods and samplers ask of a denoiser, which is an ``nn.Module``.

    ``order_causal`` says what one call gives, and with it the call's signature. False: ``denoiser(tokens, where=None)``, the logits of
    one revealed set. True: ``denoiser(tokens, order)``, the logits of every rank of a whole order, so that ``order_log_prob`` is one
    call. See the two classes for shapes. Likelihoods and samplers need the three methods only, and samplers make a session of
    ``conditionals`` for a denoiser that has no ``session`` (``begin_session``); where sequences are padded, the first two
    of a denoiser of sets get ``present`` (batch, length) bool too.
    """

    vocab_size: int
    length: int
    mask_id: int
    order_causal: bool

    @property
    def device(self) -> torch.device: ...

    def conditionals(self, tokens: Tensor, order: Tensor, n_revealed: Tensor) -> Tensor: ...

    def order_log_prob(self, tokens: Tensor, order: Tensor) -> Tensor: ...

    def session(self, n: int, present: Tensor | None = None) -> Session: ...


__all__ = [
    "BidirectionalTransformer",
    "ChainOracle",
    "Denoiser",
    "MaskedLM",
    "OrderCausalTableTransformer",
    "OrderCausalTransformer",
    "PretrainedDenoiser",
    "Session",
    "SetDenoiser",
    "TableOracle",
    "TableTransformer",
    "begin_session",
]
