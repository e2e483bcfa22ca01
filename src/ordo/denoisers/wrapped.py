"""Any network from token ids to logits, as a denoiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ordo.denoisers.sets import SetDenoiser
from ordo.errors import ConfigError, first_line
from ordo.settings import Size, checked


class Wrapped(SetDenoiser):
    """A denoiser of sets made of a network of one's own, see ``wrap``."""

    def __init__(self, module: nn.Module, vocab_size: int, length: int):
        super().__init__()
        self.module = module
        self.vocab_size = self.mask_id = vocab_size
        self.length = length

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer. Raises ValueError for padded sequences: the network has no
        argument that says what is padding.
        """
        if present is not None:
            raise ValueError(
                "a wrapped module cannot be told of padding: give sequences of one length, or "
                "write a subclass of ordo.denoisers.SetDenoiser, whose forward takes present"
            )
        logits = self.module(tokens)[..., : self.vocab_size]
        return logits if where is None else logits[where]


@checked
def wrap(module: nn.Module, vocab_size: Size, length: Size) -> Wrapped:
    """A network as a denoiser: for objectives, likelihoods, samplers and ``ordo.fit``.

    The network has to see which positions are masked, and must not depend on the order in which
    tokens were revealed.

    Args:
        module: called as ``module(ids)``: ids (batch, length) int64 in 0..vocab_size, where
            vocab_size is the mask, to logits (batch, length, vocab_size), any float dtype. Logits
            of more classes, such as one of the mask, are cut off.
        vocab_size: V; tokens are 0..V-1.
        length: positions of a sequence.

    Raises ConfigError for a module that fails on two rows, or gives anything else. The call on two
    rows is in evaluation mode and draws nothing from the random generators.
    """
    if not isinstance(module, nn.Module):
        raise ConfigError(f"wrap takes a torch.nn.Module, not {type(module).__name__}")
    denoiser = Wrapped(module, vocab_size, length)
    try:
        out = trial(denoiser)
    except Exception as error:
        raise ConfigError(
            f"{type(module).__name__} fails on two rows of ids (2, {length}) in 0..{vocab_size} "
            f"({type(error).__name__}: {first_line(error)}); the mask is id {vocab_size}, so an "
            f"embedding needs {vocab_size + 1} rows"
        ) from error
    wanted = f"logits (2, {length}, {vocab_size}) for two rows of ids (2, {length})"
    if not isinstance(out, Tensor) or not out.is_floating_point():
        what = f"{out.dtype}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ConfigError(f"{type(module).__name__} must give {wanted}; it gives {what}")
    if out.ndim != 3 or out.shape[:2] != (2, length) or out.shape[2] < vocab_size:
        raise ConfigError(
            f"{type(module).__name__} must give {wanted}; it gives the shape {tuple(out.shape)}"
        )
    if out.isnan().any():
        raise ConfigError(f"{type(module).__name__} must give {wanted}; some of them are NaN")
    return denoiser


@torch.no_grad()
def trial(denoiser: Wrapped) -> Any:
    """What the network gives for two rows, one of token 0 and one of masks."""
    device = denoiser.device
    ids = torch.zeros(2, denoiser.length, dtype=torch.int64, device=device)
    ids[1] = denoiser.mask_id
    modes = {part: part.training for part in denoiser.modules()}
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        denoiser.eval()
        try:
            return denoiser.module(ids)
        finally:
            for part, training in modes.items():
                part.training = training
