"""Small random laws that depend on the tokens, and what is true of them by enumeration alone.

What is enumerated: orders, masks and products of rates.
"""

import itertools
import math
from typing import Any

import numpy
import torch
from torch import nn

from ordo.denoisers import BidirectionalTransformer
from ordo.schedules import (
    ContentSchedule,
    FreeTable,
    LogBound,
    OrderPosterior,
    PerContext,
    PerVocabulary,
)

LENGTH, VOCAB = 4, 3
T_MIN = 0.05


def random_denoiser(std=1.0, length=LENGTH, kind: Any = BidirectionalTransformer):
    torch.manual_seed(0)
    denoiser = kind(VOCAB, length, width=8, heads=2, layers=1).double()
    for (
        parameter
    ) in denoiser.parameters():  # far from its mild initialisation, so that orders differ
        torch.nn.init.normal_(parameter, std=std)
    return denoiser.eval()


class Additive(nn.Module):
    """A sum of one number for every (position, token, position), the mask included.

    Absent tokens add nothing.
    """

    def __init__(self, length=LENGTH, std=0.5):
        super().__init__()
        self.table = nn.Parameter(std * torch.randn(length, VOCAB + 1, length, dtype=torch.float64))

    def forward(self, tokens, present=None):
        seen = self.table[torch.arange(tokens.shape[1]), tokens]  # (n, length, length)
        return (seen if present is None else seen * present[..., None])[..., : tokens.shape[1]].sum(
            1
        )


class Both(ContentSchedule):
    """u and two networks at once, which no named schedule has: the general case."""

    def __init__(self, length=LENGTH):
        super().__init__(length)
        self.w, self.r, self.u = (
            Additive(length),
            Additive(length),
            nn.Parameter(0.7 * torch.randn(VOCAB, dtype=torch.float64)),
        )

    def log_w(self, tokens, present=None):
        return self.w(tokens, present)

    def log_r(self, tokens, present=None):
        return self.r(tokens, present)

    def log_u(self):
        return self.u


class Static(ContentSchedule):
    """w = r the same for all tokens, u = 1: what ``Power`` is."""

    def __init__(self, log_w):
        super().__init__(len(log_w))
        self.table = nn.Parameter(log_w)

    def log_w(self, tokens, present=None):
        return self.table.expand(tokens.shape)

    log_r = log_w


def schedules(length=LENGTH):
    torch.manual_seed(1)
    return {
        "per_vocabulary": PerVocabulary(length, VOCAB, init_std=0.6),
        "per_context": PerContext(length, Additive(length, 1.0), Additive(length, 1.0)),
        "per_context_log": PerContext(length, Additive(length), Additive(length), LogBound(2.0)),
        "order_posterior": OrderPosterior(length, Additive(length), Additive(length)),
        "both": Both(length),
        "base": PerContext(
            length, Additive(length, 1.0), Additive(length, 1.0), base=FreeTable(length, 0.7)
        ),
    }


def rates(denoiser, schedule, z):
    """rho_{l, v}(z) = r_l u_v mu_l(v) at masked positions, (n, length, vocab), 0 elsewhere."""
    u = (
        torch.ones(VOCAB, dtype=torch.float64)
        if schedule.log_u() is None
        else schedule.log_u().exp()
    )
    mu = denoiser(z).softmax(-1)
    return schedule.log_r(z).exp()[..., None] * u * mu * (z == VOCAB)[..., None]


def every_order(positions):
    return list(itertools.permutations(positions))


def joint(denoiser, schedule, x, known=()):
    """log q(pi | x), log p(x, pi) and the cost of bound rate, (n,) each, for all n orders.

    x: (length,). The orders are those of the positions that are not known.
    """
    unknown = [i for i in range(len(x)) if i not in known]
    log_q, log_p, rate = [], [], []
    w = schedule.log_w(x[None])[0].exp()
    for order in every_order(unknown):
        z = x.clone()
        z[unknown] = VOCAB
        q, p, r = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        left = list(order)
        for position in order:
            rho, w_total = rates(denoiser, schedule, z[None])[0], w[left].sum()
            mine, total = rho[position, x[position]], rho.sum()
            q, p = q + (w[position] / w_total).log(), p + (mine / total).log()
            r = r + (w[position] / mine).log() + total / w_total - 1
            z = z.clone()
            z[position] = x[position]
            left.remove(position)
        for values, value in ((log_q, q), (log_p, p), (rate, r)):
            values.append(value)
    return torch.stack(log_q), torch.stack(log_p), torch.stack(rate)


def exact_nelbo(denoiser, schedule, x, bound, known=()):
    """Of one sequence, by enumeration of orders."""
    log_q, log_p, rate = joint(denoiser, schedule, x, known)
    return (log_q.exp() * (log_q - log_p if bound == "jump" else rate)).sum()


def exact_log_prob(denoiser, schedule, x):
    return joint(denoiser, schedule, x)[1].logsumexp(0)


def by_quadrature(denoiser, schedule, x, known=(), reconstruction="sampled", t_min=T_MIN, nodes=60):
    """GenMD4's and LoMDM's loss of one sequence in rates rho_{l,v}.

    Sums over all masks, Gauss-Legendre in log t, and what is left at t_min.
    """
    node, weight = (torch.tensor(a) for a in numpy.polynomial.legendre.leggauss(nodes))
    log_t = (node - 1) / 2 * -math.log(t_min)
    dlog_t = weight / 2 * -math.log(t_min)
    unknown = [i for i in range(len(x)) if i not in known]
    masks = torch.zeros(2 ** len(unknown), len(x), dtype=torch.bool)
    masks[:, unknown] = torch.tensor(list(itertools.product([False, True], repeat=len(unknown))))
    z = x.expand_as(masks).masked_fill(masks, VOCAB)
    rho, w = rates(denoiser, schedule, z), schedule.log_w(x[None])[0].exp()
    mine, total_rate = (
        torch.where(masks, y, 1.0) for y in (rho[:, torch.arange(len(x)), x], rho.sum(-1))
    )
    # w log w - w - (w log rho_{x} - sum_v rho_v): the Poisson divergence of the true token's rate,
    # and of all other rates from 0.
    inner = torch.where(masks, w * (w.log() - mine.log()) - w + total_rate, 0.0).sum(-1)
    masked = (w * torch.cat([log_t, torch.tensor([math.log(t_min)])])[:, None]).exp()[
        :, None
    ]  # (times, 1, length)
    q = torch.where(masks, masked, 1 - masked)[..., unknown].prod(-1)
    total = (dlog_t * (q[:-1] @ inner)).sum()
    if reconstruction == "sampled":
        cost = (total_rate / mine).log().sum(-1)
        return total + q[-1] @ cost
    u = (
        torch.ones(VOCAB, dtype=torch.float64)
        if schedule.log_u() is None
        else schedule.log_u().exp()
    )
    still = t_min**u  # of each token
    return total + sum(masked[-1, 0, i] * -(still[x[i]] / still.sum()).log() for i in unknown)
