"""Ground truth for short sequences: enumeration of all orders, and a dynamic programme over
revealed subsets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser
from ordo.likelihood.orders import as_schedule
from ordo.objectives.reverse import check_reverse, reverse_step, step_terms
from ordo.order import NextStepLaw, OrderLaw
from ordo.schedules import Schedule

ENUMERATION_LENGTH = 8
SUBSET_LENGTH = 14
ROWS = 2048  # of a call


@dataclass(frozen=True)
class ExactLikelihood:
    """nelbo: (n,) nats, E_pi[-log p(x | pi)]. log_mixture: (n,), log p(x) = log E_pi p(x | pi) >=
    -nelbo.
    """

    nelbo: Tensor
    log_mixture: Tensor


def enumerate_orders(denoiser: Denoiser, law: NextStepLaw, tokens: Tensor) -> ExactLikelihood:
    """Both likelihoods under a law of positions, by scoring each of length! orders; any denoiser;
    differentiable.

    tokens: (n, length), length <= 8. Raises ValueError for longer sequences.
    """
    batch, length = tokens.shape
    if length > ENUMERATION_LENGTH:
        raise ValueError(
            f"length {length} has {length}! orders; enumeration stops at {ENUMERATION_LENGTH}"
        )
    orders = torch.tensor(list(itertools.permutations(range(length))), device=tokens.device)
    log_law = law.step_log_prob(orders).sum(-1)
    n = orders.shape[0]
    x = tokens.repeat_interleave(n, 0)
    log_p = denoiser.order_log_prob(x, orders.repeat(batch, 1)).double().sum(-1).view(batch, n)
    possible = log_law > -torch.inf
    return ExactLikelihood(
        nelbo=-(log_law.exp() * torch.where(possible, log_p, 0.0)).sum(-1),
        log_mixture=(log_law + log_p).logsumexp(-1),
    )


@torch.no_grad()
def subset_likelihood(
    denoiser: Denoiser, schedule: Schedule | OrderLaw, tokens: Tensor, bound: str = "jump"
) -> ExactLikelihood:
    """Both likelihoods by a DP over the 2^length revealed sets, one sequence at a time.

    P(S is visited) goes from S to S + l by the law's P(next = l | S); P(S is visited and its tokens
    are x_S) by the reverse law's, times the token's probability. The two laws are one for laws of
    positions. Needs conditionals that depend on the revealed *set*.

    Args:
        tokens: (n, length), length <= 14.
        bound: of the NELBO, "jump" or "rate".

    Raises ValueError for an order-causal denoiser (enumerate its orders instead) and for longer
    sequences.
    """
    laws, length = as_schedule(schedule), tokens.shape[1]
    if denoiser.order_causal:
        raise ValueError(
            "an order-causal denoiser depends on the order of revealing, not only on the set; "
            "use enumerate_orders (length <= 8)"
        )
    if length > SUBSET_LENGTH:
        raise ValueError(
            f"length {length} has 2^{length} revealed sets; the subset DP stops at {SUBSET_LENGTH}"
        )
    check_reverse(denoiser, laws, bound)
    subsets = torch.arange(2**length, device=tokens.device)
    revealed = ((subsets[:, None] >> torch.arange(length, device=tokens.device)) & 1).bool()
    size = revealed.sum(-1)
    nelbo, log_p = [], []
    for x in tokens:
        law: Any = laws.law(Batch(x[None]))
        terms, log_next, jump = _steps(denoiser, laws, law, x, revealed[:-1], bound)
        # log q(S is visited), and log p(S is visited and its tokens are x_S)
        reach = torch.full((len(subsets),), -torch.inf, dtype=torch.float64, device=tokens.device)
        reach[0] = 0.0
        joint = reach.clone()
        for k in range(length):
            for position in range(length):
                source = subsets[(size == k) & ~revealed[:, position]]
                target = source | (1 << position)
                step = reach[source] + log_next[source, position]
                reach[target] = torch.logaddexp(reach[target], step)
                step = joint[source] + jump[source, position]
                joint[target] = torch.logaddexp(joint[target], step)
        nelbo.append((reach[:-1].exp() * terms).sum())
        log_p.append(joint[-1])
    return ExactLikelihood(torch.stack(nelbo), torch.stack(log_p))


def _steps(
    denoiser: Denoiser, schedule: Schedule, law: Any, x: Tensor, revealed: Tensor, bound: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Part of the NELBO (sets,), forward log law of the next position and log p of a step (sets,
    length).
    """
    log_next = law.next_log_prob(revealed)
    parts = []
    for some in revealed.split(ROWS):
        rows = x.expand(len(some), -1)
        if schedule.depends_on_tokens:
            parts.append(reverse_step(denoiser, schedule, Batch(rows), ~some))
            continue
        order = (~some).to(torch.int8).argsort(dim=-1, stable=True)  # revealed positions first
        log_mu = denoiser.conditionals(rows, order, some.sum(-1)).gather(-1, rows[..., None])
        parts.append((-log_mu[..., 0].double(),) * 2)
    cost, log_rate = (torch.cat(part) for part in zip(*parts, strict=True))
    if not schedule.depends_on_tokens:
        p = log_next.exp()
        terms = torch.where(p > 0, p * cost, 0.0).sum(-1)
        return terms, log_next, torch.where(p > 0, log_next - cost, -torch.inf)
    total = log_rate.masked_fill(revealed, -torch.inf).logsumexp(-1, keepdim=True)
    terms = step_terms(law, cost, log_rate, ~revealed, bound)[0].sum(-1)
    return terms, log_next, log_rate - total - cost
