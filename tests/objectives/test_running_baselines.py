"""Baselines and coefficients that run along with training come from earlier steps only: in training
mode too no gradient is biased.

One sequence a step, so that what it would say of itself would show. Every order is drawn once, with
its probability as its weight.
"""

import copy
import itertools
import math

import pytest
import torch

from ordo.denoisers import OrderCausalTransformer
from ordo.objectives import Dense, OrderSpace, ScoreFunction
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Power

LENGTH, VOCAB = 4, 3
LOG_W = [0.9, 0.2, -0.3, -0.8]
TOKENS = torch.tensor([[2, 0, 1, 1]])


class Chosen:
    """In place of random numbers: one order, and how many are revealed."""

    def __init__(self, order, spread=0.5):
        rank = {at: i for i, at in enumerate(order)}
        # Position l arrives at -log(u) / w_l, and the first to arrive is decoded first.
        u = [math.exp(-0.3 * (rank[at] + 1) * math.exp(w)) for at, w in enumerate(LOG_W)]
        self.u, self.spread = torch.tensor(u, dtype=torch.float64), spread

    def uniform(self, draws, n, length, device):
        assert (draws, n) == (1, 1)
        return self.u.view(1, 1, LENGTH)

    def stratified(self, n, device):
        return torch.tensor([self.spread], dtype=torch.float64)


def setting():
    torch.manual_seed(0)
    denoiser = OrderCausalTransformer(VOCAB, LENGTH, width=8, heads=2, layers=1).double()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    schedule = Power(LENGTH, FreeTable(LENGTH))
    with torch.no_grad():
        next(schedule.network.parameters()).copy_(torch.tensor(LOG_W))
    return denoiser.requires_grad_(False), schedule


def plain(denoiser, log_w):
    """All orders: the probability of each under Plackett-Luce, a product of choices, and
    -log p(x | order).
    """
    orders, probability, cost = list(itertools.permutations(range(LENGTH))), [], []
    w = log_w.exp()
    for order in orders:
        p, left, nats = torch.ones((), dtype=torch.float64), list(order), 0.0
        for i, at in enumerate(order):
            p = p * w[at] / sum(w[other] for other in left)
            left.remove(at)
            nats -= denoiser.conditionals(TOKENS, torch.tensor([order]), torch.tensor([i]))[
                0, at, TOKENS[0, at]
            ].item()
        probability.append(p)
        cost.append(nats)
    return orders, torch.stack(probability), torch.tensor(cost, dtype=torch.float64)


OBJECTIVES = {
    "dense": lambda: Dense(LENGTH),
    "dense_unigram": lambda: Dense(LENGTH, unigram=True, vocab_size=VOCAB),
    "order": lambda: OrderSpace(1, score=ScoreFunction("ema")),
    "order_learned": lambda: OrderSpace(1, score=ScoreFunction("learned")),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_gradient_is_biased_in_training(name, monkeypatch):
    denoiser, schedule = setting()
    log_w = torch.tensor(LOG_W, dtype=torch.float64, requires_grad=True)
    orders, probability, cost = plain(denoiser, log_w)
    (want,) = torch.autograd.grad((probability * cost).sum(), log_w)
    monkeypatch.setattr("ordo.objectives.running.DECAY", 0.5)  # what one step says weighs much
    objective = OBJECTIVES[name]().train()
    for step in range(5):  # something to go by
        objective(denoiser, schedule, torch.randint(VOCAB, (1, LENGTH)), StepRandom(0, step))
    spreads = [(k + 0.5) / LENGTH for k in range(LENGTH)] if name.startswith("order") else [0.5]
    found, value = torch.zeros(LENGTH, dtype=torch.float64), 0.0
    for order, p in zip(orders, probability.tolist(), strict=True):
        for spread in spreads:
            out = copy.deepcopy(objective)(denoiser, schedule, TOKENS, Chosen(order, spread))
            (gradient,) = torch.autograd.grad(out.loss * LENGTH, list(schedule.parameters()))
            found += p / len(spreads) * gradient
            value += p / len(spreads) * out.nelbo.item()
    assert value == pytest.approx((probability * cost).sum().item(), abs=1e-6)
    assert torch.allclose(found, want - want.mean(), atol=1e-5)  # the table's mean moves nothing
    assert want.abs().max() > 0.05
