"""Ground truth for short sequences: enumeration of all orders, and a dynamic programme over revealed subsets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.denoisers import Denoiser
from ordo.order import NextStepLaw

ENUMERATION_LENGTH = 8
SUBSET_LENGTH = 14


@dataclass(frozen=True)
class ExactLikelihood:
    """nelbo (batch,): E_pi[-log p(x | pi)] nats. log_mixture (batch,): log E_pi p(x | pi) >= -nelbo."""

    nelbo: Tensor
    log_mixture: Tensor


def enumerate_orders(denoiser: Denoiser, law: NextStepLaw, tokens: Tensor) -> ExactLikelihood:
    """Both likelihoods by scoring each of length! orders; any denoiser; differentiable. tokens (batch, length), length <= 8.

    Raises ValueError for longer sequences.
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
def subset_likelihood(denoiser: Denoiser, law: NextStepLaw, tokens: Tensor) -> ExactLikelihood:
    """Both likelihoods by a DP over the 2^length revealed sets, one sequence at a time; tokens (batch, length), length <= 14.

    m(S + l) += m(S) P(l | S) mu(x_l | x_S). Needs conditionals that depend on the revealed *set*. Raises ValueError for an
    order-causal denoiser (enumerate its orders instead) and for longer sequences.
    """
    length = tokens.shape[1]
    if denoiser.order_causal:
        raise ValueError(
            "an order-causal denoiser depends on the order of revealing, not only on the set; use enumerate_orders (length <= 8)"
        )
    if length > SUBSET_LENGTH:
        raise ValueError(
            f"length {length} has 2^{length} revealed sets; the subset DP stops at {SUBSET_LENGTH}"
        )
    device = tokens.device
    subsets = torch.arange(2**length, device=device)
    revealed = ((subsets[:, None] >> torch.arange(length, device=device)) & 1).bool()
    size = revealed.sum(-1)
    order = (~revealed).to(torch.int8).argsort(dim=-1, stable=True)  # revealed positions first
    log_next = law.next_log_prob(revealed)
    nelbo, log_mixture = [], []
    for x in tokens:
        rows = x.expand(len(subsets), -1)
        parts = [
            denoiser.conditionals(
                rows[i : i + 2048], order[i : i + 2048], size[i : i + 2048]
            ).gather(-1, rows[i : i + 2048, :, None])[..., 0]
            for i in range(0, len(subsets) - 1, 2048)
        ]
        log_mu = torch.cat(parts).double()
        reach = torch.full(
            (len(subsets),), -torch.inf, dtype=torch.float64, device=device
        )  # log P(S is visited)
        reach[0] = 0.0
        joint = reach.clone()  # log of P(S is visited and its tokens are x_S)
        total = torch.zeros((), dtype=torch.float64, device=device)
        for k in range(length):
            for position in range(length):
                source = subsets[(size == k) & ~revealed[:, position]]
                step = log_next[source, position]
                target = source | (1 << position)
                visit = reach[source] + step
                total = (
                    total
                    - torch.where(
                        visit > -torch.inf, visit.exp() * log_mu[source, position], 0.0
                    ).sum()
                )
                reach[target] = torch.logaddexp(reach[target], visit)
                joint[target] = torch.logaddexp(
                    joint[target], joint[source] + step + log_mu[source, position]
                )
        nelbo.append(total)
        log_mixture.append(joint[-1])
    return ExactLikelihood(torch.stack(nelbo), torch.stack(log_mixture))
