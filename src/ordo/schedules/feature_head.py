"""Numbers of a law read off what the denoiser has computed, instead of a network of the law's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ordo.settings import NonNegative, Size, checked


@checked
class FeatureHead(nn.Module):
    """One number per position given the tokens, as ``TokenNetwork``, from the denoiser's features of them. The gradient stops at the
    features: the law learns from the denoiser and does not move what it is learned from (LoMDM, 2602.02112).

    forward(tokens (n, length), present=None) -> (n, length) float32; it costs a call of the denoiser without gradients, which no sampler
    counts among its NFE. As the denoiser learns its features move, and the law with them, also while ``schedule_delay`` keeps the head as
    it is. In evaluation mode the denoiser's dropout is off, whatever mode that is in. Numbers start small, of standard deviation about
    ``init_std``.

    ``attach`` says whose features; ``OrderDiffusion`` and ``train_steps`` do so. The denoiser is no part of the module, and its parameters
    are not the head's. It must have ``features(tokens, present) -> (n, length, width)``, as ``BidirectionalTransformer`` has.

    Args: width of the features; hidden units of the head.
    """

    def __init__(self, width: Size | None, hidden: Size = 64, init_std: NonNegative = 0.05):
        super().__init__()
        if width is None:
            raise ValueError(
                "FeatureHead needs the width of the denoiser's features, which this denoiser's configuration does not name"
            )
        self.width = width
        self.hidden = nn.Linear(width, hidden)
        self.weight = nn.Parameter(init_std * (hidden / 4) ** -0.5 * torch.randn(hidden))
        self.bias = nn.Parameter(torch.zeros(()))
        self._denoiser: tuple[Any, ...] = ()  # in a tuple it is not a submodule

    def attach(self, denoiser: Any) -> None:
        """Raises ValueError for a denoiser without features."""
        if not hasattr(denoiser, "features"):
            raise ValueError(
                "a FeatureHead reads the denoiser's features and needs one that has features(tokens, present), such as "
                f"denoiser=bidirectional; {type(denoiser).__name__} has not"
            )
        self._denoiser = (denoiser,)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        if not self._denoiser:
            raise ValueError(
                "a FeatureHead reads the features of a denoiser: call its attach(denoiser) first"
            )
        denoiser = self._denoiser[0]
        noisy = denoiser.training and not self.training
        if noisy:
            denoiser.eval()
        with torch.no_grad():
            features = denoiser.features(tokens, present)
        if noisy:
            denoiser.train()
        if features.shape[-1] != self.width:
            raise ValueError(
                f"a FeatureHead has width {self.width}, the denoiser's features have {features.shape[-1]}"
            )
        # Not a matrix product: autocast would round it to bfloat16, and a sharp law with it.
        return (gelu(self.hidden(features)) * self.weight).sum(-1) + self.bias


def attach_features(schedule: nn.Module, denoiser: Any) -> None:
    """Attaches the denoiser to every FeatureHead of the schedule. Raises ValueError where they do not fit."""
    for part in schedule.modules():
        if isinstance(part, FeatureHead):
            part.attach(denoiser)
