"""Order-causal transformer: all conditionals of one decoding order in one causal pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.denoisers.cost import static_shapes
from ordo.denoisers.layers import (
    Around,
    Block,
    Past,
    head_cost,
    init_weights,
    rotary_table,
    select,
)
from ordo.denoisers.prefix import PrefixSession
from ordo.denoisers.protocol import Session
from ordo.denoisers.sets import OnDevice
from ordo.settings import BelowOne, Few, Size, Whole, checked


@checked
class OrderCausalTransformer(OnDevice):
    """Slot i carries token pi(i-1), knows its own target position pi(i), and attends to slots 0..i.

    The permutation is applied outside attention, so plain causal SDPA serves. Rotary with two
    positions: keys turn by the position at which their token stands, queries by the position they
    predict. Slot 0 carries the id ``vocab_size`` ("nothing revealed") and stands before position 0.

    Its conditionals depend on the *order* in which tokens were revealed, not only on their set.

    Args:
        positions: "both" adds learned embeddings of the position a token stands at and of the
            position that is predicted.
        given: positions that are given in every row, and so come first in every order; None: no
            position, or not the same ones in all rows. Given positions are read left to right
            whatever order is passed: no law orders them, and in random order a token would see only
            half of its neighbours. Outputs at their ranks follow that reading and are not used.
        Others: as BidirectionalTransformer.
    """

    order_causal = True
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
                f"given positions must be in 0..{length - 1}, and one position at least be "
                f"decoded, got {given}"
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
        """Orders, (batch, length), with the given positions by position, where the given positions
        come first and are all among the first n_revealed, (batch,); other orders as they are.
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
        """Normed features of slots, (batch, slots, width).

        Args:
            carried: ids of tokens, (batch, slots).
            stands: positions that the tokens stand at, (batch, slots); -1: nowhere.
            target: positions that the slots predict, (batch, slots).
            past: keys and values of earlier slots, one for every block. Without a mask there is
                then a single new slot.
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
            x = block(x, rotary, mask, Around(causal, past=before))
        return self.norm(x)

    def embed(self, carried: Tensor, stands: Tensor) -> Tensor:
        """Ids that slots carry and the positions they stand at, (batch, length) each, to (batch,
        length, width), before positions.
        """
        return self.token(carried)

    def read_out(self, x: Tensor, target: Tensor) -> Tensor:
        """Logits by slot. A subclass with a read-out of its own also overrides ``read_out_at``.

        Args:
            x: normed features by slot, (batch, length, width).
            target: the position that each slot predicts, a permutation, (batch, length).
        """
        return self.head(x)

    def forward(self, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None) -> Tensor:
        """Logits by rank, (batch, length, vocab_size): slot i predicts x_{pi(i)} from x_{pi(<i)}.

        Args:
            tokens: (batch, length) int64 in 0..vocab_size-1, clean, by position.
            order: (batch, length).
            n_revealed: (batch,); only the first n_revealed tokens of the order are read: every
                later slot predicts its position from that prefix.
        """
        order = self.as_read(order, n_revealed)
        return self.read_out(self.by_slot(tokens, order, n_revealed), order)

    def nll(self, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None) -> Tensor:
        """-log mu of the tokens themselves by rank, (batch, length), without holding all logits;
        see ``head_cost``. Arguments as of ``forward``.
        """
        order = self.as_read(order, n_revealed)
        x = self.by_slot(tokens, order, n_revealed).flatten(0, 1)
        target = tokens.gather(1, order).flatten()
        cost = head_cost(self.read_out_at, x, order.flatten(), target, self.vocab_size)
        return cost.view_as(order)

    def nll_in_steps(self, tokens: Tensor, order: Tensor, n_before: Tensor) -> Tensor:
        """-log mu of every token given the tokens of earlier steps alone, by rank, (batch, length).

        One pass of L to 2L slots. Content slots carry the tokens of the order, as in ``forward``.
        A rank that is not the first of its step gets a query slot: it carries the last token of the
        earlier steps, and attends to the content slots of earlier steps and to itself. So it
        computes what a decoding session computes that is asked for several positions at once.

        Args:
            tokens: (batch, length), clean, by position.
            order: (batch, length).
            n_before: (batch, length) by rank: how many ranks are of earlier steps.
        """
        order = self.as_read(order)
        batch, length = order.shape
        rank = torch.arange(length, device=order.device)
        asked = n_before < rank
        if static_shapes(order.device):
            n_asked, n_content = length, length
        else:
            n_asked, n_content = int(asked.sum(1).max()), int(n_before.max()) + 1
        # The ranks that need a query slot, and others to fill up the batch.
        query = asked.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :n_asked]
        last = n_before.gather(1, query)
        source = torch.cat([(rank[:n_content] - 1).expand(batch, -1), last - 1], 1)
        stands = torch.where(source < 0, -1, order.gather(1, source.clamp(min=0)))
        carried = torch.where(source < 0, self.mask_id, tokens.gather(1, stands.clamp(min=0)))
        target = torch.cat([order[:, :n_content], order.gather(1, query)], 1)
        slot = torch.arange(n_content + n_asked, device=order.device)
        # How many content slots a slot attends to.
        sees = torch.cat([(rank[:n_content] + 1).expand(batch, -1), last], 1)
        mask = (slot < sees[:, :, None]) & (slot < n_content) | (slot[:, None] == slot)
        x = self.run_slots(carried, stands, target, None if n_asked == 0 else mask[:, None])
        # The slot that predicts each rank.
        place = n_content + asked.cumsum(1) - 1
        x = select(x, torch.where(asked, place, rank.clamp(max=n_content - 1))).flatten(0, 1)
        wanted = tokens.gather(1, order).flatten()
        cost = head_cost(self.read_out_at, x, order.flatten(), wanted, self.vocab_size)
        return cost.view_as(order)

    def by_slot(self, tokens: Tensor, order: Tensor, n_revealed: Tensor | None) -> Tensor:
        """Normed features by slot, (batch, length, width), of an order as read."""
        batch, length = order.shape
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
        return self.run_slots(carried, stands, order, mask)

    def conditionals(self, tokens: Tensor, order: Tensor, n_revealed: Tensor) -> Tensor:
        """log mu(. | the first n_revealed of ``order``, revealed in that order): (batch, length,
        vocab) by position.

        Meaningful at masked positions only. Every masked position has a slot of its own that
        attends to the revealed prefix and to itself. Tokens at masked positions are not read.
        """
        log_prob = self(tokens, order, n_revealed).log_softmax(-1)
        rank = self.as_read(order, n_revealed).argsort(-1)[..., None]
        return log_prob.gather(1, rank.expand_as(log_prob))

    def order_log_prob(self, tokens: Tensor, order: Tensor) -> Tensor:
        """log mu(x_{pi(i)} | x_{pi(<i)}) for every rank i: (batch, length), in one call."""
        return -self.nll(tokens, order)

    def session(self, n: int, present: Tensor | None = None) -> Session:
        """Calls for n rows in decoding that compute every revealed token once, see
        ``PrefixSession``. Absent positions are never revealed, and so never seen.
        """
        return PrefixSession(self, n)

    def read_out_at(self, x: Tensor, target: Tensor) -> Tensor:
        """Normed features, (m, width), of slots that predict the positions target, (m,), to logits,
        (m, vocab).
        """
        return self.head(x)
