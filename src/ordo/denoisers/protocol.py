"""What the rest of the library asks of a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ordo.batch import Batch, check_ids

# (rows, tokens, order, n_revealed, where) -> log mu, for k of the n rows of a session.
#   rows: their numbers, (k,).
#   tokens: (k, length), the mask id where masked.
#   order: a permutation, (k, length), whose first n_revealed, (k,), positions are revealed in turn.
#   where: positions asked about, (k, length) bool.
#   result: (where.sum(), vocab), in row-major order.
Session = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Denoiser(Protocol):
    """What objectives, likelihoods and samplers ask of a denoiser, which is an ``nn.Module``.

    ``order_causal`` says what one call gives, and so the call's signature. False:
    ``denoiser(tokens, where=None)`` gives the logits of one revealed set. True:
    ``denoiser(tokens, order)`` gives the logits of every rank of a whole order, so that
    ``order_log_prob`` is one call. See BidirectionalTransformer and OrderCausalTransformer for
    shapes. Where sequences are padded, the call and the two methods of a denoiser of sets also get
    ``present``, (batch, length) bool.

    Likelihoods and samplers need ``device`` and the two methods only. Two more methods are used
    where a denoiser has them: ``session(n, present)`` decodes faster than ``conditionals`` (see
    ``begin_session``), and ``nll`` gives losses without all logits (see ``ordo.denoisers.cost``).
    """

    vocab_size: int
    length: int
    mask_id: int
    order_causal: bool

    @property
    def device(self) -> torch.device: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...

    def conditionals(self, tokens: Tensor, order: Tensor, n_revealed: Tensor) -> Tensor: ...

    def order_log_prob(self, tokens: Tensor, order: Tensor) -> Tensor: ...


def check_denoiser(denoiser: Any) -> None:
    """Raises TypeError for a network that is no denoiser."""
    if not hasattr(denoiser, "order_causal"):
        raise TypeError(
            f"{type(denoiser).__name__} is no denoiser: make it one by "
            "ordo.denoisers.wrap(module, vocab_size, length)"
        )


def batch_for(denoiser: Any, batch: Any, length: int | None = None) -> Batch:
    """The batch of ``Batch.of``, which the denoiser can be asked about.

    Args:
        length: positions of the schedule or order law; None: those of the denoiser.

    Raises TypeError for a network that is no denoiser, ValueError for sequences of another length,
    and, on the CPU, for ids out of the vocabulary. Elsewhere a look would wait for the device.
    """
    check_denoiser(denoiser)
    batch, who = Batch.of(batch), "the denoiser" if length is None else "the schedule"
    has, wants = batch.tokens.shape[1], denoiser.length if length is None else length
    if has != wants:
        raise ValueError(f"the sequences have length {has}, {who} has {wants} positions")
    if batch.tokens.device.type == "cpu" and not torch.compiler.is_compiling():
        check_ids(batch, denoiser.vocab_size)
    return batch
