"""Where the numbers of a law that depends on the tokens come from: a small transformer, and what keeps its numbers within bounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.denoisers.layers import Block, init_weights, rotary_table
from ordo.settings import BelowOne, Few, NonNegative, Positive, Size, checked


@checked
class TokenNetwork(nn.Module):
    """One number per position given the tokens, clean or masked: forward(tokens (n, length), present=None) -> (n, length) float32.

    The mask id is ``vocab_size``. present (n, length) bool: the others are padding, which nothing attends to. Numbers start small, of
    standard deviation ``init_std``: near the uniform law, off its saddle point.

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
class NormSig(nn.Module):
    """w = c1 + c2 (sigmoid(v) - its mean over the positions there are), which lies in c1 +- c2 and has mean c1 (LoMDM, 2602.02112).

    forward: raw numbers (n, length) float64 and present (n, length) bool or None -> log w, float64. Raises ValueError unless 0 < c2 < c1.
    """

    def __init__(self, c1: Positive = 0.7, c2: Positive = 0.65):
        super().__init__()
        if not c2 < c1:
            raise ValueError(f"need c2 < c1, so that every w is positive, got c1={c1} and c2={c2}")
        self.c1, self.c2 = c1, c2

    def forward(self, raw: Tensor, present: Tensor | None = None) -> Tensor:
        share = raw.sigmoid()
        if present is None:
            mean = share.mean(-1, keepdim=True)
        else:
            mean = torch.where(present, share, 0.0).sum(-1, keepdim=True) / present.sum(
                -1, keepdim=True
            ).clamp(min=1)
        w = self.c1 + self.c2 * (share - mean)
        # A position that is not there is not in the mean and could leave the interval.
        return (w if present is None else torch.where(present, w, self.c1)).log()


@checked
class LogBound(nn.Module):
    """``|log w| <= bound`` by bound * tanh(. / bound), or as it comes: None. forward: as ``NormSig``."""

    def __init__(self, bound: Positive | None = None):
        super().__init__()
        self.bound = bound

    def forward(self, raw: Tensor, present: Tensor | None = None) -> Tensor:
        return raw if self.bound is None else self.bound * torch.tanh(raw / self.bound)
