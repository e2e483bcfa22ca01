"""Denoisers: networks that know tokens and orders, and nothing of schedules."""

from typing import Protocol

from torch import Tensor

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.order_causal import OrderCausalTransformer


class Denoiser(Protocol):
    """What objectives, likelihoods and samplers ask of a denoiser.

    ``order_causal`` says whether one call scores a whole order (``order_log_prob`` is then cheap) or one revealed set.
    """

    vocab_size: int
    length: int
    mask_id: int
    order_causal: bool

    def conditionals(self, tokens: Tensor, order: Tensor, n_revealed: Tensor) -> Tensor: ...

    def order_log_prob(self, tokens: Tensor, order: Tensor) -> Tensor: ...


__all__ = ["BidirectionalTransformer", "Denoiser", "OrderCausalTransformer"]
