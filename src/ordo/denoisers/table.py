"""The two transformers for tables: every column has a vocabulary, an embedding and an output head of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.layers import init_weights
from ordo.denoisers.order_causal import OrderCausalTransformer


class ColumnEmbedding(nn.Module):
    """Embedding of value v of column l; one more, shared by all columns, for the mask id."""

    offset: Tensor

    def __init__(self, vocab_sizes: Sequence[int], width: int):
        super().__init__()
        sizes = torch.tensor(vocab_sizes)
        self.mask_id = int(sizes.max())
        self.table = nn.Embedding(int(sizes.sum()) + 1, width)
        self.register_buffer("offset", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, tokens: Tensor, column: Tensor) -> Tensor:
        """tokens, and the columns they stand in (any integer where the token is the mask), of one shape -> (..., width)."""
        row = self.offset[column.clamp(min=0)] + tokens
        return self.table(torch.where(tokens == self.mask_id, self.table.num_embeddings - 1, row))


class ColumnHead(nn.Module):
    """A linear head for every column. Classes that a column has not get the logit -inf."""

    row: Tensor
    absent: Tensor

    def __init__(self, vocab_sizes: Sequence[int], width: int):
        super().__init__()
        sizes = torch.tensor(vocab_sizes)
        self.weight = nn.Parameter(torch.empty(int(sizes.sum()), width))
        self.bias = nn.Parameter(torch.zeros(int(sizes.sum())))
        value = torch.arange(int(sizes.max()))
        absent = value >= sizes[:, None]
        self.register_buffer("row", ((sizes.cumsum(0) - sizes)[:, None] + value).masked_fill(absent, 0), persistent=False)
        self.register_buffer("absent", absent, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, length, width), position l being column l -> logits (batch, length, vocab)."""
        logits = torch.einsum("blw,lvw->blv", x, self.weight[self.row]) + self.bias[self.row].to(x.dtype)
        return logits.masked_fill(self.absent, -torch.inf)

    def of(self, x: Tensor, column: Tensor) -> Tensor:
        """x (batch, width), row b being of column[b] -> logits (batch, vocab)."""
        out = x.new_empty(len(x), self.absent.shape[1])
        for each in column.unique().tolist():
            here = column == each
            out[here] = x[here] @ self.weight[self.row[each]].T + self.bias[self.row[each]]
        return out.masked_fill(self.absent[column], -torch.inf)


def check_sizes(vocab_sizes: Sequence[int] | None) -> list[int]:
    """Raises ValueError for anything but positive sizes."""
    if not vocab_sizes or min(vocab_sizes) < 1:
        raise ValueError("a table denoiser needs vocab_sizes, one positive number per column: use it with data=table")
    return list(vocab_sizes)


class TableTransformer(BidirectionalTransformer):
    """The bidirectional denoiser of a table. Columns have learned embeddings and no geometry: their order in the file is irrelevant.

    Args:
        vocab_sizes: tokens of every column; ``vocab_size`` is the largest, the mask id; logits beyond a column's own are -inf.
        width, heads, layers, dropout, time_conditioning: as BidirectionalTransformer.
    """

    def __init__(
        self,
        vocab_sizes: Sequence[int] | None,
        width: int = 48,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
        time_conditioning: bool = False,
    ):
        sizes = check_sizes(vocab_sizes)
        super().__init__(max(sizes), len(sizes), width, heads, layers, dropout, "learned", time_conditioning)
        self.token, self.head = ColumnEmbedding(sizes, width), ColumnHead(sizes, width)  # type: ignore[assignment]
        init_weights(self, layers)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.token(tokens, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens))

    def read_out(self, x: Tensor, where: Tensor | None) -> Tensor:
        logits = self.head(x)
        return logits if where is None else logits[where]


class OrderCausalTableTransformer(OrderCausalTransformer):
    """The order-causal denoiser of a table. Args as TableTransformer, without time conditioning."""

    def __init__(self, vocab_sizes: Sequence[int] | None, width: int = 48, heads: int = 4, layers: int = 2, dropout: float = 0.0):
        sizes = check_sizes(vocab_sizes)
        super().__init__(max(sizes), len(sizes), width, heads, layers, dropout, "learned")
        self.token, self.head = ColumnEmbedding(sizes, width), ColumnHead(sizes, width)  # type: ignore[assignment]
        init_weights(self, layers)

    def embed(self, carried: Tensor, stands: Tensor) -> Tensor:
        return self.token(carried, stands)

    def read_out(self, x: Tensor, target: Tensor) -> Tensor:
        # The heads want columns side by side: back from decoding order, through the heads, and into decoding order again.
        by_column = x.gather(1, target.argsort(-1)[..., None].expand_as(x))
        logits = self.head(by_column)
        return logits.gather(1, target[..., None].expand(-1, -1, logits.shape[-1]))

    def read_out_last(self, x: Tensor, target: Tensor) -> Tensor:
        return self.head.of(x, target)  # type: ignore[operator]
