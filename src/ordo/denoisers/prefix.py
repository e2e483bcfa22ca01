"""Decoding with an order-causal denoiser: every revealed token is computed once, whatever is asked
about the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ordo.denoisers.order_causal import OrderCausalTransformer


@dataclass(frozen=True)
class Plan:
    """Where the slots of one call are kept.

    Args:
        rows: which of the session's rows the call is of, (k,); None: all.
        used: number of kept slots that are attended to.
        row, rank, slot: new slot ``slot`` of row ``row`` of the call is kept at ``rank``, (m,).
        in_place: every row has a single new slot, kept at rank ``used``.
    """

    rows: Tensor | None
    used: int
    row: Tensor
    rank: Tensor
    slot: Tensor
    in_place: bool


class KeyValues:
    """Keys and values of one block for n rows, by rank of the slot; rows may hold different numbers
    of slots. ``plan`` says where the slots of the next ``extend`` are kept.
    """

    plan: Plan

    def __init__(self, n: int, capacity: int):
        self.n, self.capacity = n, capacity
        self.keys = self.values = torch.empty(0)

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys.numel() == 0:
            shape = (self.n, k.shape[1], self.capacity, k.shape[3])
            self.keys, self.values = k.new_zeros(shape), v.new_zeros(shape)
        plan, end = self.plan, self.plan.used + 1
        if plan.in_place and plan.rows is None:
            self.keys[:, :, plan.used : end], self.values[:, :, plan.used : end] = k, v
            return self.keys[:, :, :end], self.values[:, :, :end]
        out = []
        for store, new in ((self.keys, k), (self.values, v)):
            used = store[:, :, : plan.used]
            out.append(torch.cat([used if plan.rows is None else used[plan.rows], new], 2))
            row = plan.row if plan.rows is None else plan.rows[plan.row]
            store[row, :, plan.rank] = new[plan.row, :, plan.slot]
        return out[0], out[1]


class PrefixSession:
    """log mu of any positions given any revealed prefix of any order, for n rows that may stand at
    different ranks.

    Slot i carries the token of rank i - 1 and predicts the position of rank i; it is kept as long
    as positions and tokens up to it stay as they were, so that what is masked again costs from
    there on only. A call runs the slots that revealed tokens add, and one slot for every position
    asked about, which sees the prefix and itself.
    """

    def __init__(self, denoiser: OrderCausalTransformer, n: int):
        self.denoiser, self.n = denoiser, n
        length = denoiser.length
        device = denoiser.device
        self.past = [KeyValues(n, length) for _ in denoiser.blocks]
        # Of the slots kept, by rank; -1: none.
        self.target = torch.full((n, length), -1, dtype=torch.int64, device=device)
        self.carried = self.target.clone()

    @torch.no_grad()
    def __call__(
        self, rows: Tensor, tokens: Tensor, order: Tensor, n_revealed: Tensor, where: Tensor
    ) -> Tensor:
        """See ``ordo.denoisers.Session``."""
        device, k, length = tokens.device, *tokens.shape
        order = self.denoiser.as_read(order, n_revealed)
        nowhere = order.new_full((k, 1), -1)
        stands = torch.cat([nowhere, order[:, :-1]], 1)  # by rank
        nothing = nowhere + 1 + self.denoiser.mask_id
        carried = torch.cat([nothing, tokens.gather(1, order[:, :-1])], 1)
        at = torch.arange(length, device=device)
        everyone = k == self.n
        mine = slice(None) if everyone else rows
        same = (self.target[mine] == order) & (self.carried[mine] == carried)
        kept = (same & (at < n_revealed[:, None])).cumprod(1).sum(1)
        new, asked = n_revealed - kept, where.sum(1)
        n_new, n_asked, used = int(new.max()), int(asked.max()), int(kept.max())
        # Slots of the call: those of revealed tokens, then those asked about, padded to the same
        # numbers in all rows.
        slot = torch.arange(n_new + n_asked, device=device)
        rank = torch.where(
            slot < n_new, kept[:, None] + slot, n_revealed[:, None].expand(-1, len(slot))
        ).clamp(max=length - 1)
        is_new, is_asked = slot < new[:, None], (slot >= n_new) & (slot < n_new + asked[:, None])
        question = where.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :n_asked]
        target = torch.cat([order.gather(1, rank[:, :n_new]), question], 1)
        mask = None
        single = n_asked == 1 and bool((asked == 1).all())
        plain = n_new == 0 and single and bool((kept == used).all())
        if not plain:
            sees_past = (at[:used] < kept[:, None])[:, None].expand(-1, len(slot), -1)
            earlier = is_new[:, None, :] & ((slot[:, None] > slot) | (slot[:, None] >= n_new))
            sees_call = earlier | (slot[:, None] == slot)
            mask = torch.cat([sees_past, sees_call], 2)[:, None]
        # A single question per row is kept too: should its position be revealed next, its slot is
        # there already.
        keep = is_new | is_asked if single else is_new
        row, kept_slot = keep.nonzero(as_tuple=True)
        kept_rank = rank[row, kept_slot]
        plan = Plan(None if everyone else rows, used, row, kept_rank, kept_slot, plain)
        for block in self.past:
            block.plan = plan
        x = self.denoiser.run_slots(
            carried.gather(1, rank), stands.gather(1, rank), target, mask, self.past
        )
        there = row if everyone else rows[row]
        self.target[there, kept_rank] = target[row, kept_slot]
        self.carried[there, kept_rank] = carried[row, kept_rank]
        # Slots beyond were computed after slots that are no longer kept.
        beyond = at >= (n_revealed + int(single))[:, None]
        self.target[rows] = self.target[rows].masked_fill(beyond, -1)
        return self.denoiser.read_out_at(x[is_asked], target[is_asked]).log_softmax(-1)
