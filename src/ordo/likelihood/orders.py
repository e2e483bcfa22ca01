"""Likelihoods by scoring orders: the NELBO of a law, log p of one order, the K-sample importance
bound.

All values are nats per sequence, and everything runs without gradients. Each function takes a
``Batch`` or bare tokens (n, length), and a schedule, or an order law that does not depend on the
tokens. Given positions are conditioned on, padding is left out. Which number answers which
question: see ``ordo.likelihood.report``.

A schedule that depends on the tokens has a law in reverse of its own. Its numbers are those of the
chain of jumps that decodes (``TokenSchedule``): p(x) is the sum over orders of p(x, pi), and the
forward law given x is a proposal of orders, q(pi | x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ordo.batch import Batch, seen_by
from ordo.denoisers import Denoiser, batch_for
from ordo.denoisers.cost import nll_of_order
from ordo.objectives import TimeSpace
from ordo.objectives.prefix import Prefix, cut
from ordo.objectives.reverse import (
    check_reverse,
    next_terms,
    order_terms,
    rates_along,
    reverse_step,
)
from ordo.order import OrderDraw, OrderLaw, sort_by
from ordo.randomness import StepRandom
from ordo.schedules import Schedule


class Static(Schedule):
    """An order law as a schedule: what likelihoods ask of one, where none is needed."""

    def __init__(self, law: OrderLaw):
        super().__init__(law.length)
        self._law = law

    def law(self, batch: Batch | Tensor | None = None) -> OrderLaw:
        return self._law


def as_schedule(schedule: Schedule | OrderLaw) -> Schedule:
    """A schedule as it is, or an order law as one."""
    return schedule if isinstance(schedule, Schedule) else Static(schedule)


@torch.no_grad()
def order_log_prob(denoiser: Denoiser, batch: Batch | Tensor, order: Tensor) -> Tensor:
    """log p(x | pi) = sum_i log mu(x_{pi(i)} | x_{pi(<i)}), exact log p(x) if ``order`` depends on
    what is revealed alone.

    For orders drawn at random it is the log-likelihood given the order. Costs one call of an
    order-causal denoiser, ``length`` calls of a bidirectional one.

    Args:
        order: (length,) or (n, length) int64; given positions are moved to the front and padding to
            the end.

    Returns (n,) float64.
    """
    batch = batch_for(denoiser, batch)
    order = batch.decoded_first(order.expand_as(batch.tokens))
    by_rank = denoiser.order_log_prob(batch.tokens, order, **seen_by(denoiser, batch)).double()
    return batch.zero_undecoded(by_rank).sum(-1)


@torch.no_grad()
def nelbo(
    denoiser: Denoiser,
    schedule: Schedule | OrderLaw,
    batch: Batch | Tensor,
    draws: int = 4,
    random: StepRandom | None = None,
    bound: str = "jump",
) -> Tensor:
    """An unbiased estimate, for each sequence, of the NELBO >= -log p(x) (2511.19152, Prop. 3.1;
    see ``OrderSpace``).

    Spends ``draws`` denoiser rows a sequence. An order-causal denoiser scores whole orders. A
    bidirectional one scores one stratified number of revealed tokens a draw, with the next token
    summed exactly where the law's next-choice probabilities are known, and drawn where they are
    not.

    Args:
        bound: "jump" or "rate", which differ for laws that depend on the tokens alone.

    Returns (n,) float64. Raises ValueError for u with an order-causal denoiser.
    """
    laws, random = as_schedule(schedule), random or StepRandom()
    batch = batch_for(denoiser, batch, laws.length)
    check_reverse(denoiser, laws, bound)
    n, length = batch.tokens.shape
    many, law = batch.repeat(draws), laws.law(batch).repeat(draws)
    u = random.uniform(draws, n, length, batch.tokens.device).flatten(0, 1)
    order = many.decoded_first(sort_by(law.keys(u)))
    if denoiser.order_causal:
        cost, gap = order_terms(denoiser, laws, law, many, order, bound)
        return (cost + gap).sum(-1).view(draws, n).mean(0)
    # Row d * n + i: the draws of one sequence lie 1/draws apart, so they spread evenly over the
    # numbers revealed.
    progress = random.stratified(draws * n, batch.tokens.device)
    prefix = cut(OrderDraw(order, torch.zeros_like(u), True), many, progress)
    terms, _ = next_terms(denoiser, laws, _with_next(law, prefix), many, prefix, bound)
    return (prefix.n_decoded * terms.sum(-1)).view(draws, n).mean(0)


def _with_next(law: Any, prefix: Prefix) -> Any:
    """The law, or where its next choice has no closed form, the choice that was drawn next."""
    return law if hasattr(law, "next_log_prob") else _Drawn(prefix)


class _Drawn:
    """The next choice of drawn orders, with probability 1."""

    def __init__(self, prefix: Prefix):
        rank = prefix.order.argsort(-1)
        self.next = (rank == prefix.n_revealed[:, None]) & prefix.masked

    def next_log_prob(self, revealed: Tensor) -> Tensor:
        return torch.where(self.next, 0.0, -torch.inf).double()


@torch.no_grad()
def time_space_nelbo(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch | Tensor,
    draws: int = 4,
    t_min: float = 1e-3,
    random: StepRandom | None = None,
) -> Tensor:
    """The third estimator, of Eq. 8 of 2511.19152, at ``draws`` low-discrepancy times a sequence;
    see ``TimeSpace``.

    Its expectation is above that of ``nelbo`` by what decoding at once all that is still masked at
    t_min costs, and its variance is larger: for comparison with published figures.

    Returns (n,) float64. Raises ValueError for an order-causal denoiser; LawTooSharp (looked for on
    the CPU) where the law is so sharp that too small a value would be likely.
    """
    batch, random = batch_for(denoiser, batch, schedule.length), random or StepRandom()
    n, length = batch.tokens.shape
    u = random.uniform(draws, n, length, batch.tokens.device).flatten(0, 1)[None]
    progress = random.stratified(draws * n, batch.tokens.device)
    objective = TimeSpace(draws=1, t_min=t_min)
    out = objective.terms(denoiser, schedule, batch.repeat(draws), progress, u)
    return out.terms.sum((0, 2)).view(draws, n).mean(0)


@torch.no_grad()
def joint_log_prob(
    denoiser: Denoiser, schedule: Schedule, batch: Batch | Tensor, order: Tensor
) -> Tensor:
    """log p(x, pi) of positions and tokens, for a schedule whose law depends on the tokens: by its
    chain of jumps.

    Costs ``length`` calls, of an order-causal denoiser one; arguments as of ``order_log_prob``.

    Returns (n,) float64. Raises ValueError for u with an order-causal denoiser.
    """
    batch = batch_for(denoiser, batch, schedule.length)
    check_reverse(denoiser, schedule)
    decoded, length = batch.decoded, batch.tokens.shape[1]
    order = batch.decoded_first(order.expand_as(batch.tokens))
    if denoiser.order_causal:
        first = batch.n_leading_given()
        log_r, masked = rates_along(schedule, batch, order, denoiser.mask_id, first)
        log_total = log_r.masked_fill(~masked, -torch.inf).logsumexp(-1)
        steps = log_r.gather(-1, order[:, first:, None])[..., 0] - log_total
        steps = steps - nll_of_order(denoiser, batch.tokens, order)[:, first:]
        return batch.zero_undecoded(pad(steps, (first, 0))).sum(-1)
    rank, steps = order.argsort(-1), []
    for i in range(length):
        masked = (rank >= i) & decoded
        mine = masked & (rank == i)
        cost, log_rate = reverse_step(denoiser, schedule, batch, masked, mine)
        log_total = log_rate.masked_fill(~masked, -torch.inf).logsumexp(-1)
        steps.append(torch.where(mine, log_rate - log_total[:, None] - cost, 0.0).sum(-1))
    return batch.zero_undecoded(torch.stack(steps, -1)).sum(-1)


@torch.no_grad()
def importance_bound(
    denoiser: Denoiser,
    schedule: Schedule | OrderLaw,
    batch: Batch | Tensor,
    draws: int = 16,
    generator: torch.Generator | None = None,
) -> Tensor:
    """log of the mean over k drawn orders of p(x, pi) / q(pi | x), for k = 1..draws (Burda et al.
    1509.00519).

    For laws of positions the ratio is p(x | pi). A lower bound on log p(x) in expectation: minus
    the NELBO (of bound "jump") for k = 1, rising in k and tending to log p(x).

    Returns (n, draws) float64.
    """
    laws = as_schedule(schedule)
    batch = batch_for(denoiser, batch, laws.length)
    law: Any = laws.law(batch)
    ratios = []
    for _ in range(draws):
        order = law.sample(len(batch.tokens), generator)
        if laws.depends_on_tokens:
            draw = law.scored(order, batch)
            joint = joint_log_prob(denoiser, laws, batch, draw.order)
            ratios.append(joint - draw.score.sum(-1))
        else:
            ratios.append(order_log_prob(denoiser, batch, order))
    k = torch.arange(1, draws + 1, device=batch.tokens.device, dtype=torch.float64)
    return torch.stack(ratios, -1).logcumsumexp(-1) - k.log()


@dataclass(frozen=True)
class OrderLoss:
    """-log mu of every token of sequences decoded in one order each, float64 nats.

    Args:
        by_revealed: (n, length), of the token decoded after i others; NaN beyond a row's last.
        by_position: (n, length), of the token at position i; NaN where nothing is decoded.
        revealed: (n, length) int64, tokens decoded before the token at position i, of which given
            ones are none; meaningful where by_position is.
    """

    by_revealed: Tensor
    by_position: Tensor
    revealed: Tensor


@torch.no_grad()
def order_loss(denoiser: Denoiser, batch: Batch | Tensor, order: Tensor) -> OrderLoss:
    """The losses of all tokens in orders (n, length) of all positions."""
    batch = batch_for(denoiser, batch)
    length = batch.tokens.shape[1]
    order = batch.decoded_first(order)
    loss = -denoiser.order_log_prob(batch.tokens, order, **seen_by(denoiser, batch)).double()
    by_position = torch.empty_like(loss).scatter_(1, order, loss)
    revealed = order.argsort(1)
    if batch.whole:
        return OrderLoss(loss, by_position, revealed)
    n_given = batch.given.sum(1, keepdim=True)
    rank = torch.arange(length, device=order.device) + n_given
    by_revealed = loss.gather(1, rank.clamp(max=length - 1))
    by_revealed = by_revealed.masked_fill(
        rank >= n_given + batch.decoded.sum(1, keepdim=True), torch.nan
    )
    by_position = by_position.masked_fill(~batch.decoded, torch.nan)
    return OrderLoss(by_revealed, by_position, revealed - n_given)
