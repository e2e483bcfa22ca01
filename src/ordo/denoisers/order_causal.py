"""Order-causal transformer: all ``length`` conditionals of one decoding order in one causal pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.denoisers.layers import Block, Past, head_cost, init_weights, rotary_table
from ordo.denoisers.prefix import PrefixSession
from ordo.denoisers.sets import OnDevice, Session
from ordo.settings import BelowOne, Few, Size, Whole, checked


@checked
class OrderCausalTransformer(OnDevice):
    """Slot i carries token pi(i-1), knows its own target position pi(i), and attends to slots 0..i.

    The permutation is applied outside attention, so plain causal SDPA serves. Rotary with two
    positions: keys turn by the position at which their token stands, queries by the position they
    predict. Slot 0 carries the id ``vocab_size`` ("nothing revealed") and stands before position 0.

    Its conditionals depend on the *order* in which tokens were revealed, not only on their set.

    Args: as BidirectionalTransformer; ``positions="both"`` adds learned embeddings of the position a
    token stands at and of the position that is predicted. given: positions that are given in every row,
    and so come first in every order; None: none, or not the same ones in all rows. They are read by
    position whatever the order says of them: no law says how, and of tokens in random order neighbours
    see each other half the time. What is said at the ranks of given tokens is then of the positions as
    read; nothing asks for it.
    """

    order_causal = True
    scores_targets = True  # whether ``forward`` takes ``score``; False for subclasses with a read-out of their own
    cos: Tensor
    sin: Tensor
    is_given: Tensor

    def __init__(
        self,
        vocab_size: Size,
        length: Size,
        width: Size = 128,
        heads: Size = 4,
        layers: Few = 4,
        dropout: BelowOne = 0.0,
        positions: Literal["rotary", "learned", "both"] = "both",
        recompute: bool = False,
        given: Sequence[Whole] | None = None,
    ):
        super().__init__()
        given = sorted(set(given or ()))
        if given and not (given[-1] < length and len(given) < length):
            raise ValueError(
                f"given positions must be in 0..{length - 1}, and one position at least be decoded, got {given}"
            )
        self.vocab_size, self.length, self.mask_id = vocab_size, length, vocab_size
        self.n_given = len(given)
        self.register_buffer(
            "is_given",
            torch.isin(torch.arange(length), torch.tensor(given, dtype=torch.int64)),
            persistent=False,
        )
        self.token = nn.Embedding(vocab_size + 1, width)
        learned = positions != "rotary"
        self.stands_at = nn.Embedding(length + 1, width) if learned else None
        self.predicts = nn.Embedding(length + 1, width) if learned else None
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout, recompute=recompute) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)
        init_weights(self, layers)
        self.rotary = positions != "learned"
        cos, sin = rotary_table(length + 1, width // heads)  # row 0: "before the first position"
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def as_read(self, order: Tensor, n_revealed: Tensor | None = None) -> Tensor:
        """Orders (batch, length) with the given positions by position, where these come first and are all among the first n_revealed
        (batch,); other orders as they are.
        """
        if self.n_given == 0:
            return order
        first, rest = order[:, : self.n_given], order[:, self.n_given :]
        straight = self.is_given[first].all(1)
        if n_revealed is not None:
            straight = straight & (n_revealed >= self.n_given)
        return torch.where(straight[:, None], torch.cat([first.sort(1).values, rest], 1), order)

    def run_slots(
        self,
        carried: Tensor,
        stands: Tensor,
        target: Tensor,
        mask: Tensor | None,
        past: Sequence[Past | None] | None = None,
    ) -> Tensor:
        """carried ids, positions they stand at (-1: nowhere), target positions, all (batch, slots) -> (batch, slots, width).

        past: of every block, the slots before these; without a mask these are then a single one.
        """
        x = self.embed(carried, stands)
        stands, target = stands + 1, target + 1
        if self.stands_at is not None and self.predicts is not None:
            x = x + self.stands_at(stands) + self.predicts(target)
        rotary = None
        if self.rotary:
            rotary = (
                self.cos[target][:, None],
                self.sin[target][:, None],
                self.cos[stands][:, None],
                self.sin[stands][:, None],
            )
        causal = mask is None and x.shape[1] > 1
        for block, before in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            x = block(x, rotary, mask, causal=causal, past=before)
        return self.norm(x)

    def embed(self, carried: Tensor, stands: Tensor) -> Tensor:
        """Ids that slots carry and the positions they stand at, (batch, length), to (batch, length, width), before positions."""
        return self.token(carried)

    def read_out(self, x: Tensor, target: Tensor) -> Tensor:
        """Normed features by slot (batch, length, width), and the position that each slot predicts, a permutation, to logits by slot."""
        return self.head(x)

    def forward(
        self, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None, score: bool = False
    ) -> Tensor:
        """Logits (batch, length, vocab_size) by rank: slot i predicts x_{pi(i)} from x_{pi(<i)}.

        tokens (batch, length) int64 in 0..vocab_size-1, clean, by position; order (batch, length). With n_revealed (batch,) only the
        first n_revealed tokens of the order are read: every later slot predicts its position from that prefix.
        score: return -log mu of the tokens themselves, (batch, length) by rank, without holding all logits; see ``head_cost``.
        """
        batch, length = order.shape
        order = self.as_read(order, n_revealed)
        slot = torch.arange(length, device=order.device)
        mask = None
        source = (slot - 1).expand(batch, length)  # rank of the token that a slot carries
        if n_revealed is not None:
            source = torch.minimum(slot, n_revealed[:, None]) - 1
            prefix = slot < n_revealed[:, None, None]
            itself = slot[:, None] == slot
            mask = ((slot[:, None] >= slot) & (prefix | itself))[:, None]
        stands = torch.where(source < 0, -1, order.gather(1, source.clamp(min=0)))
        carried = torch.where(source < 0, self.mask_id, tokens.gather(1, stands.clamp(min=0)))
        x = self.run_slots(carried, stands, order, mask)
        if score:
            return head_cost(self.head, x.flatten(0, 1), tokens.gather(1, order).flatten()).view(
                batch, length
            )
        return self.read_out(x, order)

    def conditionals(self, tokens: Tensor, order: Tensor, n_revealed: Tensor) -> Tensor:
        """log mu(. | the first n_revealed of ``order``, revealed in that order): (batch, length, vocab) by position.

        Meaningful at masked positions only. Every masked position has a slot of its own that attends to the
        revealed prefix and to itself. Tokens at masked positions are not read.
        """
        log_prob = self(tokens, order, n_revealed).log_softmax(-1)
        rank = (
            self.as_read(order, n_revealed)
            .argsort(-1)[..., None]
            .expand(-1, -1, log_prob.shape[-1])
        )
        return log_prob.gather(1, rank)

    def order_log_prob(self, tokens: Tensor, order: Tensor) -> Tensor:
        """log mu(x_{pi(i)} | x_{pi(<i)}) for every rank i: (batch, length), in one call."""
        if self.scores_targets:
            return -self(tokens, order, score=True)
        target = tokens.gather(1, self.as_read(order))[..., None]
        return self(tokens, order).log_softmax(-1).gather(-1, target)[..., 0]

    def session(self, n: int, present: Tensor | None = None) -> Session:
        """Calls for n rows in decoding that compute every revealed token once, see ``PrefixSession``. Absent positions, which are never
        revealed, are not seen anyway.
        """
        return PrefixSession(self, n)

    def read_out_at(self, x: Tensor, target: Tensor) -> Tensor:
        """Normed features (m, width) of slots that predict the positions target (m,) to logits (m, vocab)."""
        return self.head(x)
