"""Likelihoods of a denoiser under a law that depends on the tokens, see ``ordo.schedules.ContentSchedule``: what its jump chain says of x.

The chain's p(x) = sum over orders of p(x, pi), and its forward law given x is a proposal of orders, q(pi | x). All values are nats per
sequence and without gradients. All raise ValueError for a schedule that does not depend on the tokens, and for an order-causal denoiser
with one that has u. Of an order-causal denoiser an order costs one call, and p(x, pi) depends on all of the order, not on sets alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ordo.denoisers.cost import nll_of_order
from ordo.likelihood.exact import SUBSET_LENGTH, ExactLikelihood
from ordo.objectives.content import (
    BOUNDS,
    check_content,
    order_terms,
    present_positions,
    rates_along,
    reverse_step,
    step_terms,
)
from ordo.objectives.content_order import prefix_terms
from ordo.order import PlackettLuce, arrange, given_ranks, not_decoded, only_decoded, there
from ordo.randomness import StepRandom
from ordo.schedules import ContentSchedule


@torch.no_grad()
def content_nelbo(
    denoiser: Any,
    schedule: ContentSchedule,
    tokens: Tensor,
    draws: int = 4,
    bound: str = "jump",
    random: StepRandom | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """An unbiased estimate of the NELBO of each sequence, bound jump <= rate (see ``ContentOrderSpace``): (batch,) float64.

    tokens (batch, length); spends ``draws`` denoiser rows a sequence, each with a stratified number of revealed tokens, or of an
    order-causal denoiser whole orders. known
    (batch, length) bool: of the other positions given these. lengths (batch,): later positions are padding.
    """
    check_content(denoiser, schedule, "content_nelbo")
    _check_bound(bound)
    random, (batch, length) = random or StepRandom(), tokens.shape
    law = schedule.law(tokens, present_positions(lengths, length))
    u = random.uniform(draws, batch, length, tokens.device).flatten(0, 1)
    if denoiser.order_causal:
        laws, many = (
            PlackettLuce(law.log_w.repeat(draws, 1)),
            None if lengths is None else lengths.repeat(draws),
        )
        given = None if known is None else known.repeat(draws, 1)
        order = laws.draw(u, given, many).order
        cost, velocity = order_terms(
            denoiser, schedule, laws, tokens.repeat(draws, 1), order, bound, given, many
        )
        return (cost + velocity).sum(-1).view(draws, batch).mean(0)
    # Row d * batch + b: the draws of one sequence lie 1/draws apart, so they spread evenly over the numbers of revealed positions.
    spread = random.stratified(draws * batch, tokens.device)
    terms, *_ = prefix_terms(denoiser, schedule, law, tokens, spread, u, bound, known, lengths)
    return terms.sum(-1).view(draws, batch).mean(0)


@torch.no_grad()
def content_order_log_prob(
    denoiser: Any,
    schedule: ContentSchedule,
    tokens: Tensor,
    order: Tensor,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """log p(x, pi) of the jump chain: positions and tokens, (batch,) float64, by ``length`` calls, of an order-causal denoiser one.

    tokens (batch, length), order (length,) or (batch, length), of which known (batch, length) positions are taken out to the front and
    those beyond lengths (batch,) to the end.
    """
    check_content(denoiser, schedule, "content_order_log_prob")
    length = tokens.shape[1]
    known = there(known, lengths)
    fixed = not_decoded(known, lengths, length)
    order = arrange(order.expand_as(tokens), known, lengths)
    if denoiser.order_causal:
        first = given_ranks(known)
        log_r, masked = rates_along(
            schedule, tokens, order, denoiser.mask_id, known, lengths, first
        )
        log_total = log_r.masked_fill(~masked, -torch.inf).logsumexp(-1)
        chosen = (
            log_r.gather(-1, order[:, first:, None])[..., 0]
            - log_total
            - nll_of_order(denoiser, tokens, order)[:, first:]
        )
        return only_decoded(pad(chosen, (first, 0)), known, lengths).sum(-1)
    rank, steps = order.argsort(-1), []
    for i in range(length):
        masked = rank >= i if fixed is None else (rank >= i) & ~fixed
        mine = masked & (rank == i)
        z = tokens.masked_fill(masked, denoiser.mask_id)
        cost, log_rate = reverse_step(denoiser, schedule, z, tokens, masked, lengths, mine)
        log_total = log_rate.masked_fill(~masked, -torch.inf).logsumexp(-1)
        steps.append(torch.where(mine, log_rate - log_total[:, None] - cost, 0.0).sum(-1))
    return only_decoded(torch.stack(steps, -1), known, lengths).sum(-1)


@torch.no_grad()
def content_importance_bound(
    denoiser: Any,
    schedule: ContentSchedule,
    tokens: Tensor,
    draws: int = 16,
    generator: torch.Generator | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """log of the mean over k orders of p(x, pi_k) / q(pi_k | x), pi_k ~ q, for k = 1..draws: (batch, draws) float64 nats.

    A lower bound on log p(x) in expectation (Burda et al. 1509.00519): minus the NELBO of bound jump for k = 1, rising in k and tending to
    log p(x). known, lengths: as of ``content_nelbo``. Costs ``length`` calls an order, of an order-causal denoiser one.
    """
    check_content(denoiser, schedule, "content_importance_bound")
    (batch, length), ratios = tokens.shape, []
    law = schedule.law(tokens, present_positions(lengths, length))
    for _ in range(draws):
        u = torch.rand(
            batch, length, dtype=torch.float64, generator=generator, device=tokens.device
        ).clamp(2**-60, 1 - 2**-53)
        draw = law.draw(u, known, lengths)
        ratios.append(
            content_order_log_prob(denoiser, schedule, tokens, draw.order, known, lengths)
            - draw.score.sum(-1)
        )
    k = torch.arange(1, draws + 1, device=tokens.device).double()
    return torch.stack(ratios, -1).logcumsumexp(-1) - k.log()


@torch.no_grad()
def content_subset_likelihood(
    denoiser: Any, schedule: ContentSchedule, tokens: Tensor, bound: str = "jump"
) -> ExactLikelihood:
    """Exact NELBO of either bound and exact log p(x) (``log_mixture``), by a DP over the 2^length revealed sets; length <= 14.

    P(S is visited and x_S) goes from S to S + l by the chain's rho_l / W times the token's probability. tokens (batch, length), one
    sequence at a time. Raises ValueError for longer sequences and for an order-causal denoiser.
    """
    check_content(denoiser, schedule, "content_subset_likelihood", sets=True)
    _check_bound(bound)
    length, device = tokens.shape[1], tokens.device
    if length > SUBSET_LENGTH:
        raise ValueError(
            f"length {length} has 2^{length} revealed sets; the subset DP stops at {SUBSET_LENGTH}"
        )
    subsets = torch.arange(2**length, device=device)
    revealed = ((subsets[:, None] >> torch.arange(length, device=device)) & 1).bool()
    size = revealed.sum(-1)
    nelbo, log_p = [], []
    for x, log_w in zip(tokens, schedule.log_w(tokens), strict=True):
        rows = x.expand(len(subsets), -1)
        parts = []
        for some in (~revealed[:-1]).split(2048):
            given = rows[: len(some)]
            parts.append(
                reverse_step(
                    denoiser, schedule, given.masked_fill(some, denoiser.mask_id), given, some
                )
            )
        cost, log_rate = (torch.cat(part) for part in zip(*parts, strict=True))
        law = PlackettLuce(log_w)
        terms, _ = step_terms(law, cost, log_rate, ~revealed[:-1], bound)
        log_next = law.next_log_prob(revealed)
        jump = (
            log_rate
            - log_rate.masked_fill(revealed[:-1], -torch.inf).logsumexp(-1, keepdim=True)
            - cost
        )
        reach = torch.full(
            (len(subsets),), -torch.inf, dtype=torch.float64, device=device
        )  # log q(S is visited | x)
        reach[0] = 0.0
        joint = reach.clone()  # log p(S is visited and its tokens are x_S)
        for k in range(length):
            for position in range(length):
                source = subsets[(size == k) & ~revealed[:, position]]
                target = source | (1 << position)
                reach[target] = torch.logaddexp(
                    reach[target], reach[source] + log_next[source, position]
                )
                joint[target] = torch.logaddexp(
                    joint[target], joint[source] + jump[source, position]
                )
        nelbo.append((reach[:-1].exp() * terms.sum(-1)).sum())
        log_p.append(joint[-1])
    return ExactLikelihood(torch.stack(nelbo), torch.stack(log_p))


def _check_bound(bound: str) -> None:
    if bound not in BOUNDS:
        raise ValueError(f"bound={bound!r}: choose jump or rate")
