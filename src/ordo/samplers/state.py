"""What a sampler knows while it decodes: the rows that are not finished, and what one step may
look at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ordo.denoisers import Session
from ordo.order import OrderLaw
from ordo.randomness import RowRandom
from ordo.schedules import Schedule

if TYPE_CHECKING:
    from ordo.samplers.how_many import HowMany

T = TypeVar("T")

# Uses of random numbers: each use has its own stream of uniforms.
TOKEN, ORDER, UNMASK, REMASK, NOISE, AGAIN = range(6)


@dataclass
class State:
    """Rows in decoding. Finished rows are taken out.

    Args:
        row: number of the row in the call, (n,).
        seeds: of the row's random numbers, (n,).
        tokens: (n, length); the mask id where masked.
        masked: positions still to be decoded, (n, length) bool.
        known: positions that are given or absent, (n, length) bool; never decoded or revised.
        order: a permutation, (n, length): the positions revealed so far in turn, then all others.
        n_revealed: number of positions revealed so far, (n,).
        step: of the last reveal of each position, (n, length); -1 where there is none.
        log_prob: of the last reveal of each position, (n, length) nats; 0 where there is none.
        remasked: how often each position was masked again, (n, length).
        calls: denoiser calls, (n,).
        step_in_block: steps since the row's current block began, (n,).
        block_size: positions masked when the block began, (n,); -1: not counted yet.
        memory: what rules keep about rows from step to step.
    """

    row: Tensor
    seeds: Tensor
    tokens: Tensor
    masked: Tensor
    known: Tensor
    order: Tensor
    n_revealed: Tensor
    step: Tensor
    log_prob: Tensor
    remasked: Tensor
    calls: Tensor
    step_in_block: Tensor
    block_size: Tensor
    memory: dict[str, Tensor]

    def take(self, keep: Tensor) -> State:
        """The rows where keep (n,) is true."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory"}
        return State(
            **{k: v[keep] for k, v in parts.items()},
            memory={k: v[keep] for k, v in self.memory.items()},
        )

    def reveal(
        self, chosen: Tensor, tokens: Tensor, log_prob: Tensor, key: Tensor, step: int
    ) -> None:
        """Writes tokens and log_prob, (chosen.sum(),) each, at chosen, (n, length) bool. The
        positions of one step follow one another by descending key.
        """
        self.tokens.masked_scatter_(chosen, tokens)
        self.log_prob.masked_scatter_(chosen, log_prob)
        self.step.masked_fill_(chosen, step)
        self.masked = self.masked & ~chosen  # a new tensor: rules may still hold the old one
        self.order, self.n_revealed = extended(self.order, self.n_revealed, chosen, key)

    def mask_again(self, positions: Tensor, mask_id: int) -> None:
        """Masks positions, (n, length) bool, all revealed and not known."""
        self.tokens[positions] = mask_id
        self.masked = self.masked | positions
        self.remasked += positions
        length = self.order.shape[1]
        at = torch.arange(length, device=self.order.device)
        stays = (at < self.n_revealed[:, None]) & ~positions.gather(1, self.order)
        self.order = self.order.gather(1, (~stays).to(torch.int8).argsort(dim=1, stable=True))
        self.n_revealed = stays.sum(1)

    def end_blocks(self, finished: Tensor) -> None:
        """The current block of the rows finished, (n,) bool, is decoded."""
        self.step_in_block = torch.where(finished, 0, self.step_in_block)
        self.block_size = torch.where(finished, -1, self.block_size)


def extended(
    order: Tensor, n_revealed: Tensor, chosen: Tensor, key: Tensor
) -> tuple[Tensor, Tensor]:
    """The order (n, length) and the number revealed (n,) after the positions chosen, (n, length)
    bool, follow by descending key. Both are new tensors.

    The order stays a permutation: a denoiser of one's own may sort it, or read all of it.
    """
    count = chosen.sum(1)
    if (count == 1).all():  # the common case, without a sort: two positions change places
        position, at = chosen.to(torch.int8).argmax(1, keepdim=True), n_revealed[:, None]
        was_at = (order == position).to(torch.int8).argmax(1, keepdim=True)
        return order.scatter(1, was_at, order.gather(1, at)).scatter(
            1, at, position
        ), n_revealed + 1
    length = order.shape[1]
    rank = torch.arange(length, device=order.device)
    before = rank < n_revealed[:, None]
    best_first = key.masked_fill(~chosen, -torch.inf).argsort(dim=1, descending=True, stable=True)
    turn = best_first.argsort(1).gather(1, order)  # of the position at each rank
    place = torch.where(chosen.gather(1, order), length + turn, 2 * length + rank)
    return order.gather(1, torch.where(before, rank, place).argsort(1)), n_revealed + count


@dataclass(frozen=True)
class Call:
    """What all steps of one call of ``sample`` share.

    Args:
        law: of orders; the uniform law where the schedule depends on the tokens.
        forced: tokens taken in place of drawn ones, (n, length), or None.
        once: what rules computed for all steps, by name.
    """

    schedule: Schedule
    law: OrderLaw
    how_many: HowMany
    session: Session
    mask_id: int
    forced: Tensor | None
    once: dict[str, Any] = field(default_factory=dict)


class View:
    """One step, for the rules.

    Attributes:
        call: what all steps share; ``schedule``, ``law``, ``how_many`` and ``mask_id`` are of it.
        state: the rows in decoding.
        eligible: masked positions that may be revealed now, (n, length) bool.
        step: number of the step, from 0.
        log_prob: log mu of the eligible positions before the token rule, (eligible.sum(), vocab) in
            row-major order; None while positions are chosen ahead of the call.
        drawn: tokens for the eligible positions and their log-probabilities under the token rule,
            (eligible.sum(),) each, where a rule draws first; else None.
        key: of the position rule, (n, length); None before it is asked.
        chosen: positions revealed in this step, (n, length) bool.
    """

    def __init__(self, call: Call, state: State, eligible: Tensor, step: int):
        self.call, self.state, self.eligible, self.step = call, state, eligible, step
        self.schedule, self.law, self.how_many = call.schedule, call.law, call.how_many
        self.mask_id = call.mask_id
        self.random = RowRandom(state.seeds)
        self.log_prob: Tensor | None = None
        self.drawn: tuple[Tensor, Tensor] | None = None
        self.chosen = torch.zeros_like(eligible)
        self.key: Tensor | None = None
        self._ranked: Tensor | None = None

    @property
    def length(self) -> int:
        return self.eligible.shape[1]

    def uniform(self, use: int) -> Tensor:
        """(n, length) float64, the same whenever it is asked for in this step."""
        return self.random.uniform(self.step, use, self.length)

    def fixed_uniform(self, use: int) -> Tensor:
        """(n, length) float64, the same in all steps."""
        return self.random.uniform(-1, use, self.length)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gave in the first step of this call of ``sample``: for what depends on
        neither rows nor steps.
        """
        if name not in self.call.once:
            self.call.once[name] = compute()
        return self.call.once[name]

    def kept(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """What ``compute`` gave in the first step, row by row: for what depends on rows but not on
        steps.
        """
        memory, key = self.state.memory, f"kept {name}"
        if key not in memory:
            memory[key] = compute()
        return memory[key]

    def ask(
        self, where: Tensor, as_if: Tensor | None = None, tokens: Tensor | None = None
    ) -> Tensor:
        """One denoiser call: log mu at where, (n, length) bool -> (where.sum(), vocab). The call
        counts for the rows asked about.

        Args:
            as_if: positions, (n, length) bool, that are shown as if they had been revealed too, by
                descending key, with these tokens, (n, length).
        """
        state = self.state
        shown, order, n_revealed = state.tokens, state.order, state.n_revealed
        if as_if is not None and tokens is not None:
            assert self.key is not None
            shown = torch.where(as_if, tokens, shown)
            order, n_revealed = extended(order, n_revealed, as_if, self.key)
        rows = where.any(1)
        state.calls += rows
        if rows.all():
            return self.call.session(state.row, shown, order, n_revealed, where)
        return self.call.session(
            state.row[rows], shown[rows], order[rows], n_revealed[rows], where[rows]
        )

    def spread(self, values: Tensor, fill: float = -torch.inf) -> Tensor:
        """Values (eligible.sum(),) at their places in (n, length) float64."""
        out = torch.full(
            self.eligible.shape, fill, dtype=torch.float64, device=self.eligible.device
        )
        out[self.eligible] = values.double()
        return out

    def known_log_prob(self) -> Tensor:
        """log_prob in float64, for rules that are not ``ahead``."""
        assert self.log_prob is not None
        return self.log_prob.double()

    def confidence(self) -> Tensor:
        """max_v mu_l(v) at eligible positions, 0 elsewhere: (n, length)."""
        return self.spread(self.known_log_prob().max(-1).values.exp(), 0.0)

    def entropy(self) -> Tensor:
        """Entropy of mu_l in nats at eligible positions, 0 elsewhere: (n, length)."""
        log_p = self.known_log_prob()
        return self.spread(-torch.where(log_p > -torch.inf, log_p.exp() * log_p, 0.0).sum(-1), 0.0)

    def by_key(self) -> Tensor:
        """Positions by descending key, the eligible ones first: (n, length) int64."""
        if self._ranked is None:
            self._ranked = self._eligible_key().argsort(dim=1, descending=True, stable=True)
        return self._ranked

    def _eligible_key(self) -> Tensor:
        assert self.key is not None
        key = self.key.clamp(min=-1e300)  # the log of a score may be -inf too
        return key.masked_fill(~self.eligible, -torch.inf)

    def best(self) -> Tensor:
        """The first eligible position by key, where there is one: (n, length) bool."""
        at = self._eligible_key().argmax(1, keepdim=True)
        return torch.zeros_like(self.eligible).scatter_(1, at, True) & self.eligible

    def first(self, count: Tensor) -> Tensor:
        """The first count, (n,), eligible positions by key, at most all: (n, length) bool."""
        at = torch.arange(self.length, device=count.device)
        return (
            torch.zeros_like(self.eligible).scatter(1, self.by_key(), at < count[:, None])
            & self.eligible
        )


def new_state(
    tokens: Tensor, masked: Tensor, order: Tensor, n_revealed: Tensor, seeds: Tensor
) -> State:
    """The state before the first step. The tensors, (n, length) or (n,), are written to from then
    on.
    """
    n = len(tokens)
    whole, rows = torch.zeros_like(tokens), torch.zeros_like(n_revealed)
    return State(
        row=torch.arange(n, device=tokens.device),
        seeds=seeds,
        tokens=tokens,
        masked=masked,
        known=~masked,
        order=order,
        n_revealed=n_revealed,
        step=whole - 1,
        log_prob=whole.double(),
        remasked=whole.clone(),
        calls=rows.clone(),
        step_in_block=rows.clone(),
        block_size=rows - 1,
        memory={},
    )
