"""The two transformers for tables: every column has a vocabulary, an embedding and an output head
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.cost import nll_of_logits
from ordo.denoisers.layers import init_weights
from ordo.denoisers.order_causal import OrderCausalTransformer
from ordo.settings import BelowOne, Few, Size, Some, Whole, checked


class Columns(nn.Module):
    """Where the values of all columns lie in one packed parameter, and smooth functions of the rank
    of ordered values.

    Args:
        vocab_sizes: number of tokens of every column.
        ordered: how many tokens of every column, from 0 on, are ordered: bins of numbers; 0 for
            categories.
        waves: with w > 0 the vector of a value is a free vector plus
            ``sum_k a_k cos(pi k u) / sqrt(k)``, u the value's rank in (0, 1) and a_k, k = 1..w, of
            its column, so that neighbouring bins learn from one another. 0: free vectors alone.
    """

    row: Tensor
    absent: Tensor
    features: Tensor

    def __init__(self, vocab_sizes: Sequence[int], width: int, ordered: Sequence[int], waves: int):
        super().__init__()
        sizes, bins = torch.tensor(vocab_sizes), torch.tensor(ordered)
        self.total, self.most = int(sizes.sum()), int(sizes.max())
        value = torch.arange(self.most)
        absent = value >= sizes[:, None]
        self.register_buffer(
            "row",
            ((sizes.cumsum(0) - sizes)[:, None] + value).masked_fill(absent, 0),
            persistent=False,
        )
        self.register_buffer("absent", absent, persistent=False)
        self.waves = nn.Parameter(torch.zeros(len(sizes), waves, width)) if waves else None
        u = (value + 0.5) / bins.clamp(min=1)[:, None]
        k = torch.arange(1, waves + 1)
        features = (
            torch.cos(torch.pi * k * u[..., None]) / k.sqrt() * (value < bins[:, None])[..., None]
        )
        self.register_buffer("features", features, persistent=False)

    def vectors(self, free: Tensor) -> Tensor:
        """free (total, width) -> (columns, most, width). Values that a column has not repeat the
        vector of another value.
        """
        out = free[self.row]
        return out if self.waves is None else out + self.features @ self.waves


class ColumnEmbedding(Columns):
    """Embedding of value v of column l, and one for the mask id, shared by all columns. Args: see
    Columns.
    """

    def __init__(self, vocab_sizes: Sequence[int], width: int, ordered: Sequence[int], waves: int):
        super().__init__(vocab_sizes, width, ordered, waves)
        self.table = nn.Embedding(self.total + 1, width)

    def forward(self, tokens: Tensor, column: Tensor) -> Tensor:
        """Embeddings, (..., width).

        Args:
            tokens: of any shape.
            column: the column of each token, of the same shape; any integer where the token is the
                mask.
        """
        mask = tokens == self.most
        if self.waves is None:
            row = self.row[column.clamp(min=0), tokens.clamp(max=self.most - 1)]
            return self.table(torch.where(mask, self.total, row))
        table = torch.cat([self.vectors(self.table.weight).flatten(0, 1), self.table.weight[-1:]])
        return nn.functional.embedding(
            torch.where(mask, len(table) - 1, column * self.most + tokens), table
        )


class ColumnHead(Columns):
    """A linear head for every column. Classes that a column has not get the logit -inf. Args: see
    Columns.
    """

    def __init__(self, vocab_sizes: Sequence[int], width: int, ordered: Sequence[int], waves: int):
        super().__init__(vocab_sizes, width, ordered, waves)
        self.weight = nn.Parameter(torch.empty(self.total, width))
        self.bias = nn.Parameter(torch.zeros(self.total))

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, length, width), position l being column l -> logits (batch, length, vocab)."""
        logits = torch.einsum("blw,lvw->blv", x, self.vectors(self.weight))
        return (logits + self.bias[self.row].to(x.dtype)).masked_fill(self.absent, -torch.inf)

    def of(self, x: Tensor, column: Tensor) -> Tensor:
        """Logits (m, vocab) of features x, (m, width), whose columns are column, (m,)."""
        vectors, bias = self.vectors(self.weight), self.bias[self.row]
        out = x.new_empty(len(x), self.most)
        for each in column.unique().tolist():
            here = column == each
            out[here] = x[here] @ vectors[each].T + bias[each]
        return out.masked_fill(self.absent[column], -torch.inf)


def check_sizes(
    vocab_sizes: Sequence[int] | None, ordered: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Raises ValueError for no sizes, or more ordered values than there are."""
    if not vocab_sizes:
        raise ValueError(
            "a table denoiser needs vocab_sizes, one number per column: use it with data=table"
        )
    ordered = [0] * len(vocab_sizes) if ordered is None else list(ordered)
    if len(ordered) != len(vocab_sizes) or any(
        some > size for some, size in zip(ordered, vocab_sizes, strict=True)
    ):
        raise ValueError(
            "ordered must have a number from 0 to the vocabulary's size for every column"
        )
    return list(vocab_sizes), ordered


def init_table(module: TableTransformer | OrderCausalTableTransformer, layers: int) -> None:
    """As for other denoisers. With waves, the waves carry the start; free vectors start small."""
    init_weights(module, layers)
    for part, name in ((module.token, "table.weight"), (module.head, "weight")):
        if isinstance(part, Columns) and part.waves is not None:
            with torch.no_grad():
                part.waves.mul_(part.get_parameter(name).std())
                part.get_parameter(name)[: part.total].mul_(0.3)


@checked
class TableTransformer(BidirectionalTransformer):
    """The bidirectional denoiser of a table. Columns have learned embeddings and no geometry: their
    order in the file is irrelevant.

    Args:
        vocab_sizes: number of tokens of every column; ``vocab_size`` is the largest, and the mask
            id; logits beyond a column's own tokens are -inf.
        ordered, waves: see Columns; ``ordered`` None: no column.
        width, heads, layers, dropout, time_conditioning: as BidirectionalTransformer.
    """

    token: ColumnEmbedding  # type: ignore[assignment]
    head: ColumnHead  # type: ignore[assignment]

    def __init__(
        self,
        vocab_sizes: Sequence[Size] | None,
        width: Size = 48,
        heads: Size = 4,
        layers: Few = 2,
        dropout: BelowOne = 0.0,
        time_conditioning: bool = False,
        ordered: Sequence[Whole] | None = None,
        waves: Some = 0,
    ):
        sizes, ordered = check_sizes(vocab_sizes, ordered)
        super().__init__(
            max(sizes),
            len(sizes),
            width,
            heads,
            layers,
            dropout,
            "learned",
            time_conditioning=time_conditioning,
        )
        self.vocab_sizes = sizes
        self.token = ColumnEmbedding(sizes, width, ordered, waves)
        self.head = ColumnHead(sizes, width, ordered, waves)
        init_table(self, layers)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.token(
            tokens, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        )

    def read_out(self, x: Tensor, where: Tensor | None) -> Tensor:
        logits = self.head(x)
        return logits if where is None else logits[where]

    def read_out_at(self, x: Tensor, position: Tensor) -> Tensor:
        return self.head.of(x, position)

    def nll(
        self, tokens: Tensor, at: Tensor, target: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer, but through all logits, which are few: one product for all
        columns is faster than one for each column.
        """
        return nll_of_logits(self.forward(tokens, None, present).flatten(0, 1)[at], target)


@checked
class OrderCausalTableTransformer(OrderCausalTransformer):
    """The order-causal denoiser of a table. Args as TableTransformer, without time conditioning."""

    token: ColumnEmbedding  # type: ignore[assignment]
    head: ColumnHead  # type: ignore[assignment]

    def __init__(
        self,
        vocab_sizes: Sequence[Size] | None,
        width: Size = 48,
        heads: Size = 4,
        layers: Few = 2,
        dropout: BelowOne = 0.0,
        ordered: Sequence[Whole] | None = None,
        waves: Some = 0,
    ):
        sizes, ordered = check_sizes(vocab_sizes, ordered)
        super().__init__(max(sizes), len(sizes), width, heads, layers, dropout, "learned")
        self.vocab_sizes = sizes
        self.token = ColumnEmbedding(sizes, width, ordered, waves)
        self.head = ColumnHead(sizes, width, ordered, waves)
        init_table(self, layers)

    def embed(self, carried: Tensor, stands: Tensor) -> Tensor:
        return self.token(carried, stands)

    def read_out(self, x: Tensor, target: Tensor) -> Tensor:
        # The heads want columns side by side: back from decoding order, through the heads, and into
        # decoding order again.
        by_column = x.gather(1, target.argsort(-1)[..., None].expand_as(x))
        logits = self.head(by_column)
        return logits.gather(1, target[..., None].expand(-1, -1, logits.shape[-1]))

    def read_out_at(self, x: Tensor, target: Tensor) -> Tensor:
        return self.head.of(x, target)

    def nll(self, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None) -> Tensor:
        """As OrderCausalTransformer, but through all logits, see ``TableTransformer.nll``."""
        return nll_of_logits(self.forward(tokens, order, n_revealed), tokens.gather(1, order))
