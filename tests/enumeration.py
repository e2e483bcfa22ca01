"""Small random models, and what is true of them by enumeration alone: orders, masks, products of
rates.

One step-by-step loop serves laws of positions and laws of tokens, denoisers of sets and of orders.
"""

import itertools
import math
from typing import Any

import numpy
import torch
from torch import nn

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer
from ordo.objectives import TimeSpace
from ordo.randomness import StepRandom
from ordo.schedules import (
    FreeTable,
    LogBound,
    PerContext,
    PerVocabulary,
    PooledNetwork,
    Power,
    TokenSchedule,
)

LENGTH, VOCAB = 4, 3
T_MIN = 0.05
TOKENS = torch.tensor([[0, 1, 2, 0], [2, 1, 1, 0], [0, 0, 2, 2]])
# One a row: given tokens come in the order that is drawn, which an order-causal denoiser sees.
KNOWN = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()
LENGTHS = torch.tensor([4, 3, 2])


def random_denoiser(std=1.0, length=LENGTH, kind: Any = BidirectionalTransformer):
    torch.manual_seed(0)
    denoiser = kind(VOCAB, length, width=8, heads=2, layers=1).double()
    for parameter in denoiser.parameters():  # far from a mild start, so that orders differ
        torch.nn.init.normal_(parameter, std=std)
    return denoiser.eval()


def power(spread=0.8):
    torch.manual_seed(1)
    return Power(LENGTH, FreeTable(LENGTH, init_std=spread))


class Additive(nn.Module):
    """A sum of one number for every (position, token, position), the mask included; padding adds
    nothing.
    """

    def __init__(self, length=LENGTH, std=0.5):
        super().__init__()
        self.table = nn.Parameter(std * torch.randn(length, VOCAB + 1, length, dtype=torch.float64))

    def forward(self, tokens, present=None):
        seen = self.table[torch.arange(tokens.shape[1]), tokens]  # (n, length, length)
        seen = seen if present is None else seen * present[..., None]
        return seen[..., : tokens.shape[1]].sum(1)


class Both(TokenSchedule):
    """u and two networks at once, which no named schedule has: the general case."""

    def __init__(self, length=LENGTH):
        super().__init__(length)
        self.w, self.r = Additive(length), Additive(length)
        self.u = nn.Parameter(0.7 * torch.randn(VOCAB, dtype=torch.float64))

    def log_w(self, tokens, present=None):
        return self.w(tokens, present)

    def log_r(self, tokens, present=None):
        return self.r(tokens, present)

    def log_u(self):
        return self.u


class Static(TokenSchedule):
    """w = r the same for all tokens, u = 1: what ``Power`` is."""

    def __init__(self, log_w):
        super().__init__(len(log_w))
        self.table = nn.Parameter(log_w)

    def log_w(self, tokens, present=None):
        return self.table.expand(tokens.shape)

    log_r = log_w


def pooled(std=1.0, length=LENGTH):
    network = PooledNetwork(VOCAB, length, width=8, init_std=std).double()
    torch.nn.init.normal_(network.bias, std=0.3)
    return network


def schedules(length=LENGTH):
    """Laws that depend on the tokens, and ``power``."""
    torch.manual_seed(1)

    def pair(std):
        return Additive(length, std), Additive(length, std)

    return {
        "per_vocabulary": PerVocabulary(length, VOCAB, init_std=0.6),
        "per_context": PerContext(length, *pair(1.0)),
        "per_context_log": PerContext(length, *pair(0.5), LogBound(2.0)),
        "order_posterior": PerContext(length, *pair(0.5), LogBound()),
        "both": Both(length),
        "base": PerContext(length, *pair(1.0), base=FreeTable(length, 0.7)),
        "pooled": PerContext(length, Additive(length), pooled(length=length), LogBound()),
        "normsig": PerContext(length, Additive(length, 1.0), pooled(length=length), floor=0.1),
        "power": Power(length, FreeTable(length, init_std=0.8)),
        "power_sharp": Power(length, FreeTable(length, init_std=1.2)),
    }


def log_w_of(schedule, x):
    """log w of clean x (length,)."""
    if schedule.depends_on_tokens:
        return schedule.log_w(x[None])[0]
    return schedule.law().log_w[: len(x)]


def log_r_of(schedule, z):
    """log r of partly masked z (n, length)."""
    if schedule.depends_on_tokens:
        return schedule.log_r(z)
    return schedule.law().log_w[: z.shape[1]].expand(z.shape)


def u_of(schedule):
    log_u = schedule.log_u()
    return torch.ones(VOCAB, dtype=torch.float64) if log_u is None else log_u.exp()


def rates(denoiser, schedule, z):
    """rho_{l, v}(z) = r_l u_v mu_l(v) at masked positions, (n, length, vocab), 0 elsewhere."""
    mu = denoiser(z).softmax(-1)
    rho = log_r_of(schedule, z).exp()[..., None] * u_of(schedule) * mu
    return rho * (z == VOCAB)[..., None]


def every_order(positions):
    return list(itertools.permutations(positions))


def by_orders(denoiser, schedule, x, known=()):
    """All orders of the positions of x (length,) not known: log q(pi | x), log p(x, pi), the cost
    of bound rate.

    Each (orders,), from products of rates, step by step.
    """
    unknown = [i for i in range(len(x)) if i not in known]
    orders = every_order(unknown)
    log_mu = None
    if denoiser.order_causal:
        whole = [[*known, *order, *range(len(x), LENGTH)] for order in orders]
        padded = torch.cat([x, x.new_zeros(LENGTH - len(x))]).expand(len(whole), -1)
        log_mu = denoiser.order_log_prob(padded, torch.tensor(whole)).double()
    out = []
    w = log_w_of(schedule, x).exp()
    for row, order in enumerate(orders):
        z, left = x.clone(), list(order)
        z[unknown] = VOCAB
        q, p, rate = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        for rank, at in enumerate(order):
            if log_mu is None:
                rho = rates(denoiser, schedule, z[None])[0]
                mine, total = rho[at, x[at]], rho.sum()
            else:
                r = log_r_of(schedule, z[None])[0].exp()
                mine, total = r[at] * log_mu[row, len(known) + rank].exp(), r[left].sum()
            q, p = q + (w[at] / w[left].sum()).log(), p + (mine / total).log()
            rate = rate + (w[at] / mine).log() + total / w[left].sum() - 1
            z = z.clone()
            z[at] = x[at]
            left.remove(at)
        out.append(torch.stack([q, p, rate]))
    return torch.stack(out, -1)


def exact_nelbo(denoiser, schedule, x, bound="jump", known=()):
    """The NELBO of one sequence, by enumeration of orders."""
    log_q, log_p, rate = by_orders(denoiser, schedule, x, known)
    return (log_q.exp() * (log_q - log_p if bound == "jump" else rate)).sum()


def exact_log_prob(denoiser, schedule, x):
    return by_orders(denoiser, schedule, x)[1].logsumexp(0)


def masks_of(unknown, length):
    masks = torch.zeros(2 ** len(unknown), length, dtype=torch.bool)
    masks[:, unknown] = torch.tensor(list(itertools.product([False, True], repeat=len(unknown))))
    return masks


def by_quadrature(denoiser, schedule, x, known=(), reconstruction="sampled", t_min=T_MIN, nodes=60):
    """Eq. 8, and GenMD4's and LoMDM's loss, of one sequence in rates rho_{l,v}.

    All masks, Gauss-Legendre in log t, and what is left at t_min.
    """
    node, weight = (torch.tensor(a) for a in numpy.polynomial.legendre.leggauss(nodes))
    log_t = (node - 1) / 2 * -math.log(t_min)
    dlog_t = weight / 2 * -math.log(t_min)
    unknown = [i for i in range(len(x)) if i not in known]
    masks = masks_of(unknown, len(x))
    z = x.expand_as(masks).masked_fill(masks, VOCAB)
    rho, w = rates(denoiser, schedule, z), log_w_of(schedule, x).exp()
    here = (rho[:, torch.arange(len(x)), x], rho.sum(-1))
    mine, total_rate = (torch.where(masks, y, 1.0) for y in here)
    # The Poisson divergence of the rate of the true token, and of all others from 0.
    inner = torch.where(masks, w * (w.log() - mine.log()) - w + total_rate, 0.0).sum(-1)
    times = torch.cat([log_t, torch.tensor([math.log(t_min)])])
    masked = (w * times[:, None]).exp()[:, None]  # (times, 1, length)
    q = torch.where(masks, masked, 1 - masked)[..., unknown].prod(-1)
    total = (dlog_t * (q[:-1] @ inner)).sum()
    if reconstruction == "sampled":
        return total + q[-1] @ (total_rate / mine).log().sum(-1)
    still = t_min ** u_of(schedule)  # of each token
    return total + sum(masked[-1, 0, i] * -(still[x[i]] / still.sum()).log() for i in unknown)


def exact(objective, denoiser, schedule, known=None, lengths=None):
    """Mean NELBO of ``TOKENS`` that the objective should have, differentiable in the law and the
    denoiser.
    """
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(TOKENS):
        x = x if lengths is None else x[: lengths[i]]
        given = () if known is None else known[i, : len(x)].nonzero()[:, 0].tolist()
        if isinstance(objective, TimeSpace):
            total = total + by_quadrature(
                denoiser, schedule, x, given, objective.reconstruction, objective.t_min
            )
        else:
            total = total + exact_nelbo(denoiser, schedule, x, objective.bound, given)
    return total / len(TOKENS)


def flat(gradients):
    return torch.cat([g.flatten().double() for g in gradients])


def agrees(objective, denoiser, schedule, known=None, lengths=None, repeats=60, copies=200, warm=0):
    """Mean, and gradient in every parameter of the law, within 4 standard errors of the exact
    values.

    Of many parameters the most distant one is allowed for. The first ``warm`` steps fill running
    statistics.
    """
    parameters = list(schedule.parameters())
    value = exact(objective, denoiser, schedule, known, lengths)
    want = flat(torch.autograd.grad(value, parameters))
    batch = Batch(TOKENS, known, lengths).repeat(copies)
    values, gradients = [], []
    for step in range(warm + repeats):
        out = objective(denoiser, schedule, batch, StepRandom(3, step))
        assert torch.allclose(out.by_position.sum(-1), out.nelbo)
        if step >= warm:
            values.append(out.nelbo.mean())
            gradients.append(flat(torch.autograd.grad(out.loss * LENGTH, parameters)))
    values, gradients = torch.stack(values), torch.stack(gradients)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - value) < 4 * error + 1e-9
    assert error < 0.02 * value
    error = gradients.std(0) / len(gradients) ** 0.5
    miss = (gradients.mean(0) - want).abs()
    seen = error > 1e-12
    assert (miss[seen] / error[seen]).max() < 4 + 0.5 * (int(seen.sum()) > 20)
    assert miss[~seen].sum() < 1e-9
    assert error.max() < 0.25 * want.abs().max(), "too noisy to test anything"
