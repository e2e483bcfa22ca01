"""The transformer block that both denoisers are made of: pre-norm, SDPA, rotary positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ordo.settings import BelowOne, Size, checked


def rotary_table(n_positions: int, head_width: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """cos and sin of shape (n_positions, head_width): rotary embedding (Su et al. 2104.09864)."""
    frequency = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns x (batch, heads, length, head_width) by tables that broadcast against it."""
    a, b = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-b, a], dim=-1) * sin.to(x.dtype)


Rotary = tuple[Tensor, Tensor, Tensor, Tensor]  # cos and sin for queries, cos and sin for keys


def select(x: Tensor, at: Tensor) -> Tensor:
    """x (batch, length, width) at the slots at (batch, m) -> (batch, m, width)."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))


class Past(Protocol):
    """Keys and values of slots computed before."""

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Earlier and new ones together, (batch, heads, slots, head_width) each."""
        ...


class Around(NamedTuple):
    """What a block is told besides its input. A tuple, so that FSDP sees the tensors in it.

    Args:
        causal: every slot attends to earlier slots and itself.
        condition: of the modulated norms, (batch, width).
        past: keys and values of earlier slots.
    """

    causal: bool = False
    condition: Tensor | None = None
    past: Past | None = None


PLAIN = Around()


@checked
class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        conditioned: the norms are modulated (AdaLN-zero, Peebles & Xie).
        recompute: what is inside is computed again in the backward pass instead of kept (activation
            checkpointing).
    """

    def __init__(
        self,
        width: Size,
        heads: Size,
        dropout: BelowOne = 0.0,
        conditioned: bool = False,
        recompute: bool = False,
    ):
        super().__init__()
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} must be heads {heads} times an even head width")
        self.heads, self.dropout, self.recompute = heads, dropout, recompute
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=not conditioned)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=not conditioned)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width) if conditioned else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def attention(
        self,
        x: Tensor,
        rotary: Rotary | None,
        mask: Tensor | None,
        around: Around,
        at: Tensor | None,
    ) -> Tensor:
        if at is None:
            q, k, v = self.by_head(self.qkv(x), 3)
        else:  # queries of the slots at (batch, m) alone
            width = x.shape[-1]
            k, v = self.by_head(F.linear(x, self.qkv.weight[width:]), 2)
            (q,) = self.by_head(F.linear(select(x, at), self.qkv.weight[:width]), 1)
        if rotary is not None:
            cos, sin = rotary[0], rotary[1]
            if at is not None:
                cos, sin = cos[at][:, None], sin[at][:, None]
            q, k = rotate(q, cos, sin), rotate(k, rotary[2], rotary[3])
        if around.past is not None:
            k, v = around.past.extend(k, v)
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=around.causal, dropout_p=drop
        )
        return self.out(y.transpose(1, 2).flatten(2))

    def by_head(self, x: Tensor, parts: int) -> Tensor:
        """(batch, length, parts * width) -> (parts, batch, heads, length, head_width)."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def mlp(self, x: Tensor) -> Tensor:
        x = self.down(F.gelu(self.up(x)))
        return F.dropout(x, self.dropout) if self.training else x

    def forward(
        self,
        x: Tensor,
        rotary: Rotary | None = None,
        mask: Tensor | None = None,
        around: Around = PLAIN,
        at: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """x (batch, length, width) -> the same shape.

        Args:
            mask: bool, True where a query may attend.
            at: only these slots are wanted, (batch, m) -> (batch, m, width); rotary tables are then
                (length, head_width).
            rows: only these places of the flattened (batch, length), (m,), go through the MLP and
                are returned, (m, width).
        """
        if self.recompute and torch.is_grad_enabled():
            out = checkpoint(self._forward, x, rotary, mask, around, at, rows, use_reentrant=False)
            assert isinstance(out, Tensor)
            return out
        return self._forward(x, rotary, mask, around, at, rows)

    def _forward(
        self,
        x: Tensor,
        rotary: Rotary | None,
        mask: Tensor | None,
        around: Around,
        at: Tensor | None,
        rows: Tensor | None,
    ) -> Tensor:
        residual = x if at is None else select(x, at)
        if self.modulation is None or around.condition is None:
            x = residual + self.attention(self.norm_attention(x), rotary, mask, around, at)
            x = x if rows is None else x.flatten(0, 1)[rows]
            return x + self.mlp(self.norm_mlp(x))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(around.condition)[
            :, None
        ].chunk(6, dim=-1)
        normed = self.norm_attention(x) * (1 + scale_a) + shift_a
        x = residual + gate_a * self.attention(normed, rotary, mask, around, at)
        if rows is not None:
            x, shift_m, scale_m, gate_m = (
                y.expand_as(x).flatten(0, 1)[rows] for y in (x, shift_m, scale_m, gate_m)
            )
        return x + gate_m * self.mlp(self.norm_mlp(x) * (1 + scale_m) + shift_m)


MOST_LOGITS = 1 << 25  # held at once for the sake of a loss: 128 MiB in float32


def head_cost(
    read_out: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    position: Tensor,
    target: Tensor,
    vocab_size: int,
    most: int = MOST_LOGITS,
) -> Tensor:
    """-log mu of the targets, (m,) float32, or float64 of float64 features.

    Beyond ``most`` logits they are made a part at a time, and again in the backward pass, so that
    the logits of a large vocabulary are never held all at once.

    Args:
        read_out: from features (k, width) and their positions (k,) to logits (k, vocab_size).
        x: features, (m, width).
        position: of each feature, (m,) int64.
        target: tokens, (m,) int64.
    """

    def cost(x: Tensor, position: Tensor, target: Tensor) -> Tensor:
        logits = read_out(x, position)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, target, reduction="none")

    rows = max(1, most // vocab_size)
    if len(x) <= rows:
        return cost(x, position, target)
    out = []
    for piece in zip(x.split(rows), position.split(rows), target.split(rows), strict=True):
        again = torch.is_grad_enabled()
        part = checkpoint(cost, *piece, use_reentrant=False) if again else cost(*piece)
        assert isinstance(part, Tensor)
        out.append(part)
    return torch.cat(out)


def init_weights(module: nn.Module, n_layers: int) -> None:
    """Embeddings Normal(0, .1); matrices Normal(0, 1 / fan in); projections into the residual
    stream scaled by 1/sqrt(2 layers).

    GPT-2's .02 everywhere suits its width of 768; at width 64 to 128 it starts the matrices six
    times too small.
    """
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2 or "modulation" in name:
            continue
        std = 0.1 if id(parameter) in embeddings else parameter.shape[1] ** -0.5
        if name.endswith(("out.weight", "down.weight")):
            std *= (2 * n_layers) ** -0.5
        nn.init.normal_(parameter, std=std)
