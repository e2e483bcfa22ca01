"""Reverse weights from a sum over what is revealed, which along an order is a running sum: all prefixes for the price of one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ordo.denoisers.layers import init_weights
from ordo.settings import NonNegative, Size, checked


@checked
class PooledNetwork(nn.Module):
    """One number per position given the revealed tokens, as ``TokenNetwork``, from features that are added up over these (deep sets, Zaheer
    et al. 1703.06114).

    forward(tokens (n, length), present=None) -> (n, length) float32; the mask id is ``vocab_size``, present (n, length) bool: the others
    are padding. ``along`` gives it for every prefix of an order at once: with it a law that depends on the tokens trains by
    ``ContentDense``, and scores an order in one call. Numbers start small, of standard deviation about ``init_std``.

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
        """[:, i] is ``forward`` after first + i of ``order`` are revealed: tokens, order (n, length) -> (n, length - first, length)."""
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
