"""Networks that read tokens: where the weights of a law that depends on the tokens come from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ordo.denoisers.layers import Block, init_weights, rotary_table
from ordo.settings import BelowOne, Few, NonNegative, Size, checked


@checked
class TokenNetwork(nn.Module):
    """One number per position given the tokens, clean or masked: forward(tokens (n, length),
    present=None) -> (n, length) float32.

    The mask id is ``vocab_size``. present (n, length) bool: the others are padding, which nothing
    attends to. Numbers start small, of standard deviation ``init_std``: near the uniform law, off
    its saddle point.

    Args: vocab_size, length; width, heads, layers, dropout of the transformer.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        vocab_size: Size,
        length: Size,
        width: Size = 64,
        heads: Size = 2,
        layers: Few = 1,
        dropout: BelowOne = 0.0,
        init_std: NonNegative = 0.05,
    ):
        super().__init__()
        self.token = nn.Embedding(vocab_size + 1, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        init_weights(self, layers)
        self.weight = nn.Parameter(init_std * width**-0.5 * torch.randn(width))
        self.bias = nn.Parameter(torch.zeros(()))
        cos, sin = rotary_table(length, width // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        length = tokens.shape[1]
        x = self.token(tokens) + self.position.weight[:length]
        cos, sin = self.cos[:length], self.sin[:length]
        mask = None if present is None else present[:, None, None]
        for block in self.blocks:
            x = block(x, (cos, sin, cos, sin), mask)
        # Not a matrix product: autocast would round it to bfloat16, and a sharp law with it.
        return (self.norm(x) * self.weight).sum(-1) + self.bias


@checked
class PooledNetwork(nn.Module):
    """One number per position given the revealed tokens, as ``TokenNetwork``, from features that
    are added up over these (deep sets, Zaheer et al. 1703.06114).

    forward(tokens (n, length), present=None) -> (n, length) float32; the mask id is ``vocab_size``,
    present (n, length) bool: the others are padding. ``along`` gives it for every prefix of an
    order at once: with it a law that depends on the tokens trains by ``Dense``, and scores
    an order in one call. Numbers start small, of standard deviation about ``init_std``.

    Args: vocab_size, length; width of the features.
    """

    def __init__(
        self, vocab_size: Size, length: Size, width: Size = 64, init_std: NonNegative = 0.05
    ):
        super().__init__()
        self.mask_id, self.scale = vocab_size, length**-0.5
        self.token = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(length, width)
        self.inner = nn.Linear(width, 2 * width)
        self.feature = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * width)
        self.state = nn.Linear(2 * width, width)
        init_weights(self, 1)
        for table in (self.token, self.position):
            nn.init.normal_(
                table.weight
            )  # products of both are what tells tokens at positions apart
        self.query = nn.Parameter(init_std * width**-0.5 * torch.randn(length, width))
        self.bias = nn.Parameter(torch.zeros(length))

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        seen = tokens != self.mask_id
        seen = seen if present is None else seen & present
        features = self.features(tokens.masked_fill(~seen, 0)) * seen[..., None]
        return self.read_out(features.sum(1))[:, : tokens.shape[1]]

    def along(self, tokens: Tensor, order: Tensor, first: int = 0) -> Tensor:
        """[:, i] is ``forward`` after first + i of ``order`` are revealed: tokens, order (n,
        length) -> (n, length - first, length).
        """
        features = self.features(tokens.clamp(max=self.mask_id - 1))
        features = features.gather(1, order[..., None].expand_as(features))
        before = torch.cat([torch.zeros_like(features[:, :1]), features[:, :-1].cumsum(1)], 1)
        return self.read_out(before[:, first:])[..., : tokens.shape[1]]

    def features(self, tokens: Tensor) -> Tensor:
        """What a token at its position adds: (n, length) -> (n, length, width)."""
        token, position = self.token(tokens), self.position.weight[: tokens.shape[1]]
        return self.feature(gelu(self.inner(token + position + token * position))) * self.scale

    def read_out(self, pooled: Tensor) -> Tensor:
        """Sums of features (..., width) -> numbers (..., length)."""
        x = self.norm(pooled + self.state(gelu(self.hidden(pooled))))
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round a sharp law
            return x.to(self.query.dtype) @ self.query.T + self.bias


@checked
class FeatureHead(nn.Module):
    """One number per position given the tokens, as ``TokenNetwork``, from the denoiser's features
    of them. The gradient stops at the features: the law learns from the denoiser and does not move
    what it is learned from (LoMDM, 2602.02112).

    forward(tokens (n, length), present=None) -> (n, length) float32; it costs a call of the
    denoiser without gradients, which no sampler counts among its NFE. As the denoiser learns its
    features move, and the law with them, also while ``schedule_delay`` keeps the head as it is. In
    evaluation mode the denoiser's dropout is off, whatever mode that is in. Numbers start small, of
    standard deviation about ``init_std``.

    ``attach`` says whose features; ``OrderDiffusion`` and ``train_steps`` do so. The denoiser is no
    part of the module, and its parameters are not the head's. It must have ``features(tokens,
    present) -> (n, length, width)``, as ``BidirectionalTransformer`` has.

    Args: width of the features; hidden units of the head.
    """

    def __init__(self, width: Size | None, hidden: Size = 64, init_std: NonNegative = 0.05):
        super().__init__()
        if width is None:
            raise ValueError(
                "FeatureHead needs the width of the denoiser's features, which this denoiser's "
                "configuration does not name"
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
                "a FeatureHead reads the denoiser's features and needs one that has "
                "features(tokens, present), such as "
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
                f"a FeatureHead has width {self.width}, the denoiser's features have "
                f"{features.shape[-1]}"
            )
        # Not a matrix product: autocast would round it to bfloat16, and a sharp law with it.
        return (gelu(self.hidden(features)) * self.weight).sum(-1) + self.bias


def attach_features(schedule: nn.Module, denoiser: Any) -> None:
    """Attaches the denoiser to every FeatureHead of the schedule. Raises ValueError where they do
    not fit.
    """
    for part in schedule.modules():
        if isinstance(part, FeatureHead):
            part.attach(denoiser)
