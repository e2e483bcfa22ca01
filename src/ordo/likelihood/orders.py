"""Likelihoods by scoring orders: the NELBO of a law, exact log p of one order, the K-sample importance bound.

All values are nats per sequence, higher is better for log p and lower for NELBO; everything runs without gradients.
Which number answers which question: see ``ordo.likelihood.report``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.denoisers import Denoiser
from ordo.denoisers.cost import nll_of_set
from ordo.objectives import TimeSpace
from ordo.objectives.output import prefix_sizes
from ordo.order import (
    OrderLaw,
    absent,
    arrange,
    not_decoded,
    only_decoded,
    present_positions,
    sort_by,
    there,
)
from ordo.randomness import StepRandom
from ordo.schedules import Schedule


@torch.no_grad()
def order_log_prob(
    denoiser: Denoiser,
    tokens: Tensor,
    order: Tensor,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Exact log p(x) when ``order`` depends on nothing but what is revealed, for instance fixed: sum_i log mu(x_{pi(i)} | x_{pi(<i)}).

    tokens (batch, length), order (length,) or (batch, length) -> (batch,) float64. One call of an order-causal denoiser, ``length`` of a
    bidirectional one. For orders drawn at random it is the log-likelihood conditional on the order. known (batch, length) bool: log p of
    the other positions given these; each part in this order. lengths (batch,): later positions are padding.
    """
    order = arrange(order.expand_as(tokens), known, lengths)
    return only_decoded(
        denoiser.order_log_prob(tokens, order, **seen(denoiser, tokens, lengths)).double(),
        known,
        lengths,
    ).sum(-1)


def seen(denoiser: Denoiser, tokens: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """What a denoiser must be told of padding: an order-causal one nothing, as it comes last in every order."""
    return (
        {}
        if lengths is None or denoiser.order_causal
        else {"present": ~absent(lengths, tokens.shape[1])}
    )


@torch.no_grad()
def nelbo(
    denoiser: Denoiser,
    law: OrderLaw,
    tokens: Tensor,
    draws: int = 4,
    random: StepRandom | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """An unbiased estimate, for each sequence, of E_pi[-log p(x | pi)] >= -log p(x), pi ~ law (2511.19152, Prop. 3.1).

    tokens (batch, length) -> (batch,) float64; spends ``draws`` denoiser rows a sequence. An order-causal denoiser scores whole orders. A
    bidirectional one scores one stratified number of revealed tokens a draw, with the next token summed exactly where the law's
    next-choice probabilities are known, and drawn where not. known (batch, length) bool: of the other positions given these.
    lengths (batch,): later positions are padding.
    """
    random = random or StepRandom()
    batch, length = tokens.shape
    known = there(known, lengths)
    known = None if known is None else known.repeat(draws, 1)
    lengths = None if lengths is None else lengths.repeat(draws)
    fixed = not_decoded(known, lengths, length)
    order = arrange(
        sort_by(law.keys(random.uniform(draws, batch, length, tokens.device).flatten(0, 1))),
        known,
        lengths,
    )
    x = tokens.repeat(draws, 1)
    if denoiser.order_causal:
        return -order_log_prob(denoiser, x, order, known, lengths).view(draws, batch).mean(0)
    # Row d * batch + b: the draws of one sequence lie 1/draws apart, so they spread evenly over the numbers of revealed positions.
    _, unknown, k = prefix_sizes(
        random.stratified(draws * batch, tokens.device), known, lengths, length
    )
    rank = order.argsort(-1)
    revealed = rank < k[:, None]
    settled = revealed if fixed is None else revealed | fixed
    p_next = (
        law.next_log_prob(settled).exp()
        if hasattr(law, "next_log_prob")
        else (rank == k[:, None]).double()
    )  # type: ignore[attr-defined]
    where = p_next > 0
    if hasattr(denoiser, "nll"):  # without all logits
        cost = nll_of_set(
            denoiser,
            x.masked_fill(~settled, denoiser.mask_id),
            x,
            where,
            present_positions(lengths, length),
        )
    else:
        cost = (
            -denoiser.conditionals(x, order, k, **seen(denoiser, x, lengths))
            .gather(-1, x[..., None])[..., 0]
            .double()
        )
    cost = torch.where(where, p_next * cost, 0.0).sum(-1)
    return (unknown * cost).view(draws, batch).mean(0)


@torch.no_grad()
def time_space_nelbo(
    denoiser: Denoiser,
    schedule: Schedule,
    tokens: Tensor,
    draws: int = 4,
    t_min: float = 1e-3,
    random: StepRandom | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """The third estimator, of Eq. 8 of 2511.19152: (batch,) float64, ``draws`` low-discrepancy times a sequence; see ``TimeSpace``.

    Its expectation is above that of ``nelbo`` by what decoding at once all that is still masked at t_min costs, and its variance is larger:
    for comparison with published figures. known, lengths: as of ``nelbo``. Raises ValueError for an order-causal denoiser;
    LawTooSharp (looked for on the CPU) where the law is so sharp that too small a value would be likely.
    """
    TimeSpace.check(denoiser, schedule, tokens.device)  # type: ignore[arg-type]
    random, x = random or StepRandom(), tokens.repeat(draws, 1)
    many = (
        None if known is None else known.repeat(draws, 1),
        None if lengths is None else lengths.repeat(draws),
    )
    u = random.uniform(draws, len(tokens), tokens.shape[1], tokens.device).flatten(0, 1)[None]
    spread = random.stratified(len(x), tokens.device)
    weight, cost, _, _ = TimeSpace(draws=1, t_min=t_min).terms(
        denoiser, schedule, x, spread, u, *many
    )  # type: ignore[arg-type]
    return (weight * cost).sum((0, 2)).view(draws, len(tokens)).mean(0)


@torch.no_grad()
def importance_bound(
    denoiser: Denoiser,
    law: OrderLaw,
    tokens: Tensor,
    draws: int = 16,
    generator: torch.Generator | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """log of the mean over k orders of p(x | pi_k), for k = 1..draws: (batch, draws) float64 nats.

    A lower bound on the log of the mixture E_pi p(x | pi) in expectation, rising in k and tending to it (Burda et al. 1509.00519).
    known (batch, length) bool: of the other positions given these. lengths (batch,): later positions are padding.
    """
    batch = tokens.shape[0]
    per_order = [
        order_log_prob(denoiser, tokens, law.sample(batch, generator), known, lengths)
        for _ in range(draws)
    ]
    counts = torch.arange(1, draws + 1, device=tokens.device, dtype=torch.float64)
    return torch.stack(per_order, -1).logcumsumexp(-1) - counts.log()


@dataclass(frozen=True)
class OrderLoss:
    """-log mu of every token of sequences decoded in one order each, float64 nats.

    by_revealed, by_position (batch, length): of the token decoded after i others, and of the token at position i; NaN beyond a row's last
    and where nothing is decoded. revealed (batch, length) int64: tokens decoded before the one at position i, of which given ones are
    none; meaningful where by_position is.
    """

    by_revealed: Tensor
    by_position: Tensor
    revealed: Tensor


@torch.no_grad()
def order_loss(
    denoiser: Denoiser,
    tokens: Tensor,
    order: Tensor,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> OrderLoss:
    """The losses of tokens (batch, length) in the orders (batch, length) of all positions.

    known (batch, length) bool: positions given from the start, which do not count as others. lengths (batch,): later positions are padding.
    """
    length, known = tokens.shape[1], there(known, lengths)
    order = arrange(order, known, lengths)
    loss = -denoiser.order_log_prob(tokens, order, **seen(denoiser, tokens, lengths)).double()
    by_position = torch.empty_like(loss).scatter_(1, order, loss)
    revealed = order.argsort(1)
    fixed = not_decoded(known, lengths, length)
    if fixed is None:
        return OrderLoss(loss, by_position, revealed)
    n_known = 0 if known is None else known.sum(1, keepdim=True)
    rank = torch.arange(length, device=tokens.device) + n_known
    end = length if lengths is None else lengths[:, None]
    by_revealed = loss.gather(1, rank.expand_as(tokens).clamp(max=length - 1)).masked_fill(
        rank >= end, torch.nan
    )
    return OrderLoss(by_revealed, by_position.masked_fill(fixed, torch.nan), revealed - n_known)


def loss_by_rank(
    denoiser: Denoiser,
    law: OrderLaw,
    tokens: Tensor,
    generator: torch.Generator | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``by_revealed`` and ``by_position`` of ``order_loss`` under one drawn order a sequence, (batch, length) each."""
    drawn = order_loss(denoiser, tokens, law.sample(len(tokens), generator), known, lengths)
    return drawn.by_revealed, drawn.by_position
