"""Bidirectional transformer denoiser: every position sees every revealed token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.denoisers.layers import Around, Block, Rotary, head_cost, init_weights, rotary_table
from ordo.denoisers.sets import SetDenoiser
from ordo.settings import BelowOne, Few, Size, Whole, checked


@checked
class BidirectionalTransformer(SetDenoiser):
    """mu_theta(. | z): tokens with the mask id ``vocab_size`` in, logits over ``vocab_size``
    classes out.

    The mask is never a class of the output. Masked positions are conditionally independent given
    the input, which the bound needs. One call gives the conditionals of all masked positions for
    one revealed *set*; the order of revealing does not matter.

    Args:
        vocab_size: V; the mask id is V.
        length: positions.
        width, heads, layers, dropout: size of the transformer.
        positions: "rotary", "learned" (absolute, for columns or tasks without a geometry) or
            "both".
        coordinates: axes of positions on a grid, each a list of ``length`` whole numbers from 0;
            every axis gets learned embeddings.
        time_conditioning: AdaLN on the noise level. The level is the masked fraction of the input:
            given z the posterior of x does not depend on t, and the fraction is known to every
            objective, likelihood and sampler.
        recompute: compute each block again in the backward pass instead of keeping what is inside:
            less memory, about a third more time.
    """

    coordinates: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        vocab_size: Size,
        length: Size,
        width: Size = 128,
        heads: Size = 4,
        layers: Few = 4,
        dropout: BelowOne = 0.0,
        positions: Literal["rotary", "learned", "both"] = "both",
        coordinates: Sequence[Sequence[Whole]] | None = None,
        time_conditioning: bool = False,
        recompute: bool = False,
    ):
        super().__init__()
        self.vocab_size, self.length, self.mask_id = vocab_size, length, vocab_size
        self.token = nn.Embedding(vocab_size + 1, width)
        self.position = nn.Embedding(length, width) if positions != "rotary" else None
        if any(len(axis) != length for axis in coordinates or []):
            raise ValueError(f"every axis of coordinates must have {length} whole numbers")
        axes = torch.tensor([list(axis) for axis in coordinates or []], dtype=torch.int64).reshape(
            -1, length
        )
        self.register_buffer("coordinates", axes, persistent=False)
        self.axes = nn.ModuleList(nn.Embedding(int(axis.max()) + 1, width) for axis in axes)
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout, time_conditioning, recompute) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)
        self.level = (
            nn.Sequential(nn.Linear(width, width), nn.SiLU()) if time_conditioning else None
        )
        init_weights(self, layers)
        self.rotary = positions != "learned"
        cos, sin = rotary_table(length, width // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """Logits given a partly masked sequence, (batch, length, vocab_size), or with ``where``
        (where.sum(), vocab_size) in row-major order.

        Args:
            tokens: (batch, length) int64 in 0..vocab_size, where vocab_size is the mask.
            where: (batch, length) bool; only these positions go through the output head and,
                without gradients and where they are few, through the last block, but for its keys
                and values.
            present: (batch, length) bool; the others are padding, which nothing attends to.
        """
        x, told = self.before_last(tokens, present)
        length, last = tokens.shape[1], self.blocks[-1]
        if where is not None and not torch.is_grad_enabled():
            count = where.sum(1)
            most = int(count.max()) if len(count) else 0
            if 2 * most <= length:
                if most == 1 and bool(count.all()):  # one by one
                    at = where.to(torch.int8).argmax(1, keepdim=True)
                    return self.read_out_at(self.norm(last(x, *told, at=at)[:, 0]), at[:, 0])
                at = where.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
                x = last(x, *told, at=at)
                here = torch.arange(most, device=x.device) < count[:, None]
                return self.read_out_at(self.norm(x[here]), at[here])
        return self.read_out(self.norm(last(x, *told)), where)

    def nll(
        self, tokens: Tensor, at: Tensor, target: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """-log mu of tokens at places, (m,), without holding all logits; see ``head_cost``. The
        last block's MLP runs at these places alone.

        Args:
            tokens, present: as of ``forward``.
            at: places in the flattened tokens, (m,) int64.
            target: the token of each place, (m,) int64.
        """
        x, told = self.before_last(tokens, present)
        x = self.norm(self.blocks[-1](x, *told, rows=at))
        return head_cost(self.read_out_at, x, at % tokens.shape[1], target, self.vocab_size)

    def features(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """What logits are read from, (batch, length, width), at all positions: tokens and present
        as of ``forward``.
        """
        x, told = self.before_last(tokens, present)
        return self.norm(self.blocks[-1](x, *told))

    def before_last(
        self, tokens: Tensor, present: Tensor | None
    ) -> tuple[Tensor, tuple[Rotary | None, Tensor | None, Around]]:
        """What goes into the last block, (batch, length, width), and what all blocks are told."""
        x = self.embed(tokens)
        length = tokens.shape[1]
        if self.position is not None:
            x = x + self.position.weight[:length]
        for axis, embedding in zip(self.coordinates, self.axes, strict=True):
            x = x + embedding(axis[:length])
        cos, sin = self.cos[:length], self.sin[:length]
        rotary = (cos, sin, cos, sin) if self.rotary else None
        mask = None if present is None else present[:, None, None]
        told = rotary, mask, Around(condition=self.condition(tokens, present, x.dtype))
        for block in list(self.blocks)[:-1]:
            x = block(x, *told)
        return x, told

    def condition(
        self, tokens: Tensor, present: Tensor | None, dtype: torch.dtype
    ) -> Tensor | None:
        """The noise level for the blocks, (batch, width); None without time conditioning."""
        if self.level is None:
            return None
        masked = (tokens == self.mask_id).to(dtype)
        if present is None:
            fraction = masked.mean(-1, keepdim=True)
        else:
            fraction = (masked * present).sum(-1, keepdim=True) / present.sum(-1, True)
        half = self.norm.normalized_shape[0] // 2
        frequency = torch.exp(
            torch.linspace(0.0, math.log(1000.0), half, device=tokens.device, dtype=dtype)
        )
        angle = fraction * frequency
        return self.level(torch.cat([angle.cos(), angle.sin()], dim=-1))

    def embed(self, tokens: Tensor) -> Tensor:
        """(batch, length) -> (batch, length, width), before positions."""
        return self.token(tokens)

    def read_out(self, x: Tensor, where: Tensor | None) -> Tensor:
        """Normed features (batch, length, width) to the logits that ``forward`` returns. A subclass
        with a read-out of its own also overrides ``read_out_at``.
        """
        return self.head(x if where is None else x[where])

    def read_out_at(self, x: Tensor, position: Tensor) -> Tensor:
        """Normed features (m, width) of the positions (m,) to logits (m, vocab_size)."""
        return self.head(x)
