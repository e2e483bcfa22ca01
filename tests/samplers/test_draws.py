"""What rules that draw at random draw: tokens, positions by noise, laws and rates, against exact
probabilities from plain loops.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
from tabled import Tabled, fit, joint_law, softmax, steps

from ordo.denoisers import OrderCausalTransformer
from ordo.samplers import ByLaw, ByOrder, ByScore, InSteps, OnGrid, Sampler, TokenRule, sample
from ordo.schedules import FreeTable, Power, TokenSchedule

LENGTH, VOCAB, N = 3, 2, 20_000
LEAST = 1e-4  # p-value
RULES = [
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": 9},
    {"top_p": 0.3},
    {"top_p": 0.8},
    {"temperature": 0.0},
    {"temperature": 1.7, "top_k": 3, "top_p": 0.7},
]


def drawn_from(p, temperature=1.0, top_k=None, top_p=1.0):
    """Probabilities of tokens: p^(1 / temperature), then the top_k largest, then the fewest that
    hold top_p of these; each renormalised.
    """
    if temperature == 0:
        return [float(v == int(np.argmax(p))) for v in range(len(p))]
    q = [x ** (1 / temperature) for x in p]
    ranked = sorted(range(len(p)), key=lambda v: q[v], reverse=True)[:top_k]
    total, kept, mass = sum(q[v] for v in ranked), [], 0.0
    for v in ranked:
        kept.append(v)
        mass += q[v] / total
        if mass >= top_p:
            break
    return [q[v] / sum(q[w] for w in kept) if v in kept else 0.0 for v in range(len(p))]


@pytest.mark.parametrize("setting", RULES, ids=str)
def test_probabilities_of_tokens(setting):
    p = np.random.default_rng(0).dirichlet([0.7] * 5, size=50)
    found = TokenRule(**setting).log_probs(torch.tensor(p).log()).exp()
    assert torch.allclose(
        found,
        torch.tensor([drawn_from(row, **setting) for row in p], dtype=torch.float64),
        atol=1e-12,
    )


def test_tokens_are_looked_up_in_the_cumulative_distribution():
    """Evenly spaced uniforms give every token as often as it is probable, to one draw."""
    p, n = [0.05, 0.5, 0.0, 0.45], 1000
    u = (torch.arange(n) + 0.5).double() / n
    for setting in ({}, {"temperature": 0.5}, {"top_p": 0.6}):
        tokens, log_p = TokenRule(**setting).draw(torch.tensor(p).double().log().expand(n, -1), u)
        want = drawn_from(p, **setting)
        for v in range(4):
            assert abs((tokens == v).sum().item() - n * want[v]) <= 1
            assert all(
                x == pytest.approx(math.log(want[v])) for x in log_p[tokens == v][:1].tolist()
            )


@pytest.mark.parametrize("setting", RULES, ids=str)
def test_what_a_sampler_draws_from(setting):
    """Log-probabilities of drawn tokens are those of the rule, at every step; tokens it leaves out
    are never drawn.
    """
    net = Tabled(0)
    trace = sample(net, Sampler(ByScore("margin"), InSteps(3), TokenRule(**setting)), 50)
    for row in range(50):
        for shown, _, chosen in steps(trace, row, net.mask_id):
            for at in chosen:
                want = drawn_from(net.p(shown)[at], **setting)[trace.tokens[row, at]]
                assert want > 0
                assert trace.log_prob[row, at].item() == pytest.approx(math.log(want), abs=1e-9)


def small(seed):
    return Tabled(seed, LENGTH, VOCAB)


def then_tokens(net, positions):
    """positions(p, masked) -> {position: probability}, and a token of the denoiser's own
    distribution.
    """

    def policy(shown, masked):
        p = net.p(shown)
        for at, q in positions(p, masked).items():
            for token in range(VOCAB):
                yield at, token, q * p[at][token]

    return policy


LOG_SCORES = {
    "confidence": lambda q: math.log(max(q)),
    "margin": lambda q: math.log(max(q) - min(q)),
    "entropy": lambda q: sum(x * math.log(x) for x in q),
}


@pytest.mark.parametrize("anneal", [True, False])
@pytest.mark.parametrize("score", LOG_SCORES)
def test_noise_on_the_score(score, anneal):
    """Gumbel noise c g on a key chooses with probability softmax(key / c); annealed: c times the
    share still masked (MaskGIT, 2202.04200).
    """
    net = small(1)

    def positions(p, masked):
        c = 0.8 * (len(masked) / LENGTH if anneal else 1)
        return softmax({at: LOG_SCORES[score](p[at]) / c for at in masked})

    law = joint_law(then_tokens(net, positions), LENGTH, VOCAB)
    assert fit(sample(net, Sampler(ByScore(score, noise=0.8, anneal=anneal)), N), law) > LEAST


def test_random_positions():
    net = small(2)
    law = joint_law(
        then_tokens(net, lambda p, masked: dict.fromkeys(masked, 1 / len(masked))), LENGTH, VOCAB
    )
    assert fit(sample(net, Sampler(ByScore("random")), N), law) > LEAST


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_scores_of_drawn_tokens(noise):
    """MaskGIT as published: tokens are drawn everywhere, and the position whose token is most
    probable keeps it.
    """
    net = small(3)

    def policy(shown, masked):
        p = net.p(shown)
        for tokens in product(range(VOCAB), repeat=len(masked)):
            q = math.prod(p[at][token] for at, token in zip(masked, tokens, strict=True))
            key = {at: math.log(p[at][token]) for at, token in zip(masked, tokens, strict=True)}
            first = max(key, key=key.__getitem__)
            c = noise * len(masked) / LENGTH
            chosen = softmax({at: key[at] / c for at in masked}) if noise else {first: 1.0}
            for at, share in chosen.items():
                yield at, tokens[masked.index(at)], q * share

    law = joint_law(policy, LENGTH, VOCAB)
    assert fit(sample(net, Sampler(ByScore(score_on="drawn", noise=noise)), N), law) > LEAST


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_orders_of_a_law(temperature):
    """Plackett-Luce(w^(1 / temperature)), and tokens that the denoiser gives along the order."""
    net, log_w = small(4), [1.2, -0.3, -0.9]
    schedule = Power(LENGTH, FreeTable(LENGTH))
    with torch.no_grad():
        next(schedule.network.parameters()).copy_(torch.tensor(log_w))
    law = joint_law(
        then_tokens(net, lambda p, masked: softmax({at: log_w[at] / temperature for at in masked})),
        LENGTH,
        VOCAB,
    )
    assert fit(sample(net, Sampler(ByLaw(temperature)), N, schedule=schedule), law) > LEAST


class Sharp(TokenSchedule):
    """Rates r(z) that change by large factors with what is revealed; u favours one token."""

    def __init__(self, tilted: bool):
        super().__init__(LENGTH)
        self.rates = torch.tensor(
            np.random.default_rng(5).normal(scale=1.5, size=((VOCAB + 1) ** LENGTH, LENGTH))
        )
        self.u = torch.tensor([0.9, -0.9], dtype=torch.float64) if tilted else None

    def log_w(self, tokens, present=None):
        return torch.zeros(tokens.shape, dtype=torch.float64)

    def log_r(self, tokens, present=None):
        return self.rates[(tokens * torch.tensor([9, 3, 1])).sum(1)]

    def log_u(self):
        return self.u


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("tilted", [False, True])
def test_positions_and_tokens_by_rates(tilted, temperature):
    """The jump chain: position l in proportion to (r_l E_mu[u])^(1 / temperature) at the rates of
    this step, then token v to u_v mu_l(v).
    """
    net, schedule = small(6), Sharp(tilted)
    u = [1.0, 1.0] if schedule.u is None else schedule.u.exp().tolist()

    def policy(shown, masked):
        p, log_r = net.p(shown), schedule.rates[int(np.dot(shown, [9, 3, 1]))].tolist()
        mean_u = {at: sum(p[at][v] * u[v] for v in range(VOCAB)) for at in masked}
        chosen = softmax({at: (log_r[at] + math.log(mean_u[at])) / temperature for at in masked})
        for at, token in product(masked, range(VOCAB)):
            yield at, token, chosen[at] * p[at][token] * u[token] / mean_u[at]

    law = joint_law(policy, LENGTH, VOCAB)
    assert fit(sample(net, Sampler(ByLaw(temperature)), N, schedule=schedule), law) > LEAST


def test_a_grid_needs_a_law_of_positions():
    with pytest.raises(
        ValueError, match="Sharp depends on the tokens: use how_many One or InSteps"
    ):
        sample(small(0), Sampler(how_many=OnGrid(3)), 2, schedule=Sharp(False))


def test_largest_rates_first():
    """Temperature 0 of rates: order and, given the order, log p(x) are functions of what is
    revealed, also where given tokens are read in turn.
    """
    schedule = Sharp(False)
    trace = sample(small(6), Sampler(ByLaw(0)), 50, schedule=schedule)
    for row in range(50):
        for shown, masked, chosen in steps(trace, row, VOCAB):
            rates = schedule.rates[int(np.dot(shown, [9, 3, 1]))].tolist()
            assert chosen == [max(masked, key=lambda at: rates[at])]
    torch.manual_seed(0)
    net = OrderCausalTransformer(VOCAB, LENGTH, width=8, heads=2, layers=1).eval()
    given = {"given": torch.zeros(9, LENGTH, dtype=torch.int64), "known": torch.ones(9, LENGTH) > 0}
    given["known"][:, 1] = False
    forced = torch.ones(9, LENGTH, dtype=torch.int64)
    trace = sample(net, Sampler(ByLaw(0)), schedule=schedule, forced=forced, **given)
    assert (trace.total_log_prob == trace.total_log_prob[0]).all(), "whatever the row's seed"


@pytest.mark.parametrize(
    "where", [ByLaw(0), ByOrder("right_to_left"), ByOrder([2, 0, 3, 1]), ByScore()], ids=str
)
def test_given_tokens_are_read_in_the_order_of_the_rule(where):
    """An order-causal denoiser is told of given tokens first, in the law's mode or the given order;
    it scores what it drew.
    """
    torch.manual_seed(0)
    net = (
        OrderCausalTransformer(3, 4, width=8, heads=2, layers=1)
        .double()
        .eval()
        .requires_grad_(False)
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    schedule = Power(4, FreeTable(4))
    with torch.no_grad():
        next(schedule.network.parameters()).copy_(torch.tensor([0.1, 1.0, -1.0, 0.5]))
    order = {ByOrder("right_to_left"): [3, 2, 1, 0], ByOrder([2, 0, 3, 1]): [2, 0, 3, 1]}.get(
        where, [1, 3, 0, 2]
    )
    known = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    given = torch.randint(3, (4, 4), generator=torch.Generator().manual_seed(0))
    trace = sample(net, Sampler(where), given=given, known=known, schedule=schedule)
    for row in range(4):
        first = [at for at in order if known[row, at]]
        then = [at for at in trace.order[row].tolist() if not known[row, at]]
        want = net.order_log_prob(trace.tokens[row][None], torch.tensor([first + then]))[
            0, len(first) :
        ]
        assert torch.allclose(trace.log_prob[row, then], want, atol=1e-10)
