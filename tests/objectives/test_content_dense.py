"""Laws that depend on the tokens with an order-causal denoiser: objective, likelihoods, samples, against enumeration of orders."""

import itertools

import pytest
import torch
from content_laws import LENGTH, VOCAB, Additive, Static, every_order, random_denoiser
from scipy import stats

from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import (
    content_importance_bound,
    content_nelbo,
    content_order_log_prob,
    sampler_log_prob,
)
from ordo.objectives import ContentDense, Dense
from ordo.objectives.content import order_terms, present_positions
from ordo.order import arrange, there
from ordo.randomness import StepRandom
from ordo.samplers import ByRates, Sampler, sample
from ordo.schedules import (
    ContentSchedule,
    LogBound,
    OrderPosterior,
    PerContext,
    PerVocabulary,
    PooledNetwork,
    Power,
    TokenNetwork,
)
from ordo.schedules.networks import FreeTable

TOKENS = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1], [1, 0, 0, 2]])
# One a row: given tokens come in the order that is drawn, which an order-causal denoiser sees.
KNOWN = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
LENGTHS = torch.tensor([4, 3, 4])


def causal(std=0.7):
    return random_denoiser(std, kind=OrderCausalTransformer).requires_grad_(False)


def pooled(std=1.0, length=LENGTH):
    network = PooledNetwork(VOCAB, length, width=8, init_std=std).double()
    torch.nn.init.normal_(network.bias, std=0.3)
    return network


def laws():
    torch.manual_seed(2)
    return {
        "pooled": OrderPosterior(LENGTH, Additive(), pooled()),
        "normsig": PerContext(LENGTH, Additive(std=1.0), pooled(), floor=0.1),
        "base": OrderPosterior(
            LENGTH, Additive(), pooled(), bound=2.0, floor=0.1, base=FreeTable(LENGTH, 0.7)
        ),
        "other": PerContext(
            LENGTH, Additive(), Additive(), LogBound(2.0)
        ),  # whose prefixes are computed one by one
    }


def by_orders(denoiser, schedule, x, bound, known=()):
    """Of x (length,) and all orders of its unknown positions: log q, log p(x, pi) and the cost of the bound, each (n,). Step by step."""
    unknown = [i for i in range(len(x)) if i not in known]
    orders = every_order(unknown)
    whole = torch.tensor([[*known, *order, *range(len(x), LENGTH)] for order in orders])
    padded = torch.cat([x, x.new_zeros(LENGTH - len(x))]).expand(len(whole), -1)
    log_mu = denoiser.order_log_prob(padded, whole).double()
    w = schedule.log_w(x[None])[0].exp()
    log_q, log_p, cost = [], [], []
    for row, order in enumerate(orders):
        z, left = x.clone(), list(order)
        z[unknown] = VOCAB
        q, p, c = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        for rank, position in enumerate(order):
            r = schedule.log_r(z[None])[0].exp()
            share_w, share_r = w[left] / w[left].sum(), r[left] / r[left].sum()
            token = log_mu[row, len(known) + rank]
            gap = (share_w * (share_w / share_r).log()).sum()
            if bound == "rate":
                a = r[left].sum() / w[left].sum()
                gap = gap + a - 1 - a.log()
            at = left.index(position)
            q, p, c = q + share_w[at].log(), p + share_r[at].log() + token, c + gap - token
            z = z.clone()
            z[position] = x[position]
            left.remove(position)
        for values, value in ((log_q, q), (log_p, p), (cost, c)):
            values.append(value)
    return torch.stack(log_q), torch.stack(log_p), torch.stack(cost)


def exact(denoiser, schedule, bound, known=None, lengths=None):
    """Mean NELBO of the tokens."""
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(TOKENS):
        x = x if lengths is None else x[: lengths[i]]
        given = () if known is None else known[i, : len(x)].nonzero()[:, 0].tolist()
        log_q, _, cost = by_orders(denoiser, schedule, x, bound, given)
        total = total + (log_q.exp() * cost).sum()
    return total / len(TOKENS)


OBJECTIVES = {
    "rloo": lambda: ContentDense(LENGTH, 2),
    "ema": lambda: ContentDense(LENGTH, 1, "ema", unigram=True, vocab_size=VOCAB),
    "plain": lambda: ContentDense(LENGTH, 3, control=False, bound="rate"),
}


def agrees(objective, schedule, known=None, lengths=None, repeats=60, copies=100):
    denoiser, parameters = causal(), list(schedule.parameters())
    value = exact(denoiser, schedule, objective.bound, known, lengths)
    want = torch.cat([g.flatten().double() for g in torch.autograd.grad(value, parameters)])
    many = [
        None if x is None else x.repeat(copies, 1) if x.ndim > 1 else x.repeat(copies)
        for x in (TOKENS, known, lengths)
    ]
    values, gradients = [], []
    for step in range(repeats + 5):
        out = objective(denoiser, schedule, many[0], StepRandom(1, step), *many[1:])
        assert torch.allclose(out.by_position.sum(-1), out.nelbo)
        if step >= 5:  # running baselines start empty
            values.append(out.nelbo.mean())
            gradients.append(
                torch.cat(
                    [
                        g.flatten().double()
                        for g in torch.autograd.grad(out.loss * LENGTH, parameters)
                    ]
                )
            )
    values, gradients = torch.stack(values), torch.stack(gradients)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - value) < 4 * error
    assert error < 0.01 * value
    error = gradients.std(0) / len(gradients) ** 0.5
    z = ((gradients.mean(0) - want).abs() / error.clamp(min=1e-12))[error > 1e-10]
    assert z.max() < 4.5
    assert error.max() < 0.2 * want.abs().max(), "too noisy to test anything"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["pooled", "normsig", "other"])
def test_mean_and_gradient_equal_enumeration(name, objective):
    agrees(OBJECTIVES[objective](), laws()[name])


@pytest.mark.parametrize("objective", ["rloo", "ema"])
def test_given_and_absent_positions(objective):
    agrees(OBJECTIVES[objective](), laws()["pooled"], KNOWN, LENGTHS)


def test_velocity_of_later_steps_has_a_score_part():
    """The gradient test can fail: costs alone in the advantage miss the enumerated gradient."""
    schedule, denoiser = laws()["pooled"], causal()
    objective = ContentDense(LENGTH, 2, control=False)
    (want,) = torch.autograd.grad(exact(denoiser, schedule, "jump"), schedule.forward_network.table)
    advantage, found = objective.advantage, []
    objective.advantage = lambda moved, *rest: advantage(torch.zeros_like(moved), *rest)  # type: ignore[method-assign]
    for step in range(60):
        out = objective(denoiser, schedule, TOKENS.repeat(200, 1), StepRandom(1, step))
        found.append(torch.autograd.grad(out.loss * LENGTH, schedule.forward_network.table)[0])
    found = torch.stack(found)
    assert ((found.mean(0) - want).abs() > 10 * found.std(0) / 60**0.5 + 1e-6).any()


@pytest.mark.parametrize("name", ["pooled", "normsig"])
def test_all_prefixes_at_once(name):
    """The running sum, and the rows one by one of a schedule that knows no better; with padding."""
    schedule = laws()[name]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCAB, (6, LENGTH), generator=generator)
    order = torch.stack([torch.randperm(LENGTH, generator=generator) for _ in range(6)])
    for present in (None, torch.arange(LENGTH) < torch.tensor([4, 4, 3, 4, 2, 4])[:, None]):
        if present is not None:
            order = order.gather(
                1, (~present).gather(1, order).to(torch.int8).argsort(dim=1, stable=True)
            )
        fast = schedule.log_r_along(tokens, order, VOCAB, present)
        slow = ContentSchedule.log_r_along(schedule, tokens, order, VOCAB, present)
        seen = (
            torch.ones_like(fast, dtype=torch.bool)
            if present is None
            else present[:, None] & (torch.arange(LENGTH) < present.sum(1)[:, None])[..., None]
        )
        assert torch.allclose(fast[seen], slow[seen], atol=1e-12, rtol=0)
        for i in range(LENGTH):
            z = tokens.clone().scatter(1, order[:, i:], VOCAB)
            there = seen[:, i]
            assert torch.allclose(
                fast[:, i][there], schedule.log_r(z, present)[there], atol=1e-12, rtol=0
            )
    assert (fast[0, 1] - fast[0, 2]).abs().max() > 1e-3


def terms(denoiser, schedule, law, tokens, order, known, lengths):
    cost, velocity = order_terms(denoiser, schedule, law, tokens, order, "jump", known, lengths)
    return cost, velocity, content_order_log_prob(denoiser, schedule, tokens, order, known, lengths)


@pytest.mark.parametrize("name", ["pooled", "other"])
def test_ranks_of_given_positions_cost_nothing(name, monkeypatch):
    """Rates are computed from the rank on at which a row decodes its first position; the terms are as with rates at all ranks."""
    schedule, denoiser, n, ranks = laws()[name], causal(), 6, []
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCAB, (n, LENGTH), generator=generator)
    along = schedule.log_r_along
    monkeypatch.setattr(schedule, "log_r_along", lambda *a: ranks.append(along(*a)) or ranks[-1])
    place, lengths = torch.arange(LENGTH).expand(n, -1), torch.tensor([4, 4, 3, 4, 2, 4])
    for known, many, least in (
        (place < 0, None, 0),
        (place < torch.tensor([1, 2, 1, 4, 3, 1])[:, None], None, 1),
        (place >= torch.tensor([1, 2, 1, 0, 1, 2])[:, None], lengths, 1),
        (place >= 0, None, LENGTH - 1),
    ):
        order = arrange(
            torch.rand(n, LENGTH, generator=generator).argsort(1), there(known, many), many
        )
        law = schedule.law(tokens, present_positions(many, LENGTH))

        with monkeypatch.context() as patch:
            patch.setattr("ordo.objectives.content.given_ranks", lambda *a: 0)
            patch.setattr("ordo.likelihood.content.given_ranks", lambda *a: 0)
            want = terms(denoiser, schedule, law, tokens, order, known, many)
        found = terms(denoiser, schedule, law, tokens, order, known, many)
        assert [r.shape[1] for r in ranks[-4:]] == [LENGTH] * 2 + [LENGTH - least] * 2
        assert torch.allclose(ranks[-4][:, least:], ranks[-2], atol=1e-12, rtol=0)
        assert all(
            torch.allclose(a, b, atol=1e-12, rtol=0) for a, b in zip(found, want, strict=True)
        )


def test_a_law_of_positions_is_the_dense_objective():
    """Terms, and gradients in the weights, with r = w the same for all tokens."""
    denoiser, table = causal(), FreeTable(LENGTH, init_std=0.8).double()
    power = Power(LENGTH, table)
    static = Static(power.log_w().detach().clone())
    ours, theirs = ContentDense(LENGTH, 2), Dense(LENGTH, 2, "rloo")
    for step in range(5):
        mine = ours(denoiser, static, TOKENS, StepRandom(step=step), KNOWN, LENGTHS)
        want = theirs(denoiser, power, TOKENS, StepRandom(step=step), KNOWN, LENGTHS)
        assert torch.allclose(mine.by_position, want.by_position, atol=1e-10, rtol=0)
        (gradient,) = torch.autograd.grad(mine.loss, static.table)
        (expected,) = torch.autograd.grad(want.loss, table.table)
        assert torch.allclose(
            gradient - gradient.mean(), expected - expected.mean(), atol=1e-10, rtol=0
        )


@pytest.mark.parametrize("name", ["pooled", "other"])
def test_likelihoods(name):
    denoiser, schedule = causal(), laws()[name]
    orders = torch.tensor(every_order(range(LENGTH)))
    bounds = []
    for x in TOKENS:
        log_q, log_p, cost = (v.detach() for v in by_orders(denoiser, schedule, x, "jump"))
        found = content_order_log_prob(denoiser, schedule, x.expand(len(orders), -1), orders)
        assert torch.allclose(found, log_p, atol=1e-10, rtol=0)
        bounds.append((log_p.logsumexp(0), (log_q.exp() * cost).sum()))
        assert (log_q.exp() * (log_q - log_p)).sum().item() == pytest.approx(bounds[-1][1].item())
    log_p, nelbo = (torch.stack(v) for v in zip(*bounds, strict=True))
    estimates = torch.stack(
        [
            content_nelbo(denoiser, schedule, TOKENS, 50, random=StepRandom(step=i))
            for i in range(30)
        ]
    )
    assert ((estimates.mean(0) - nelbo).abs() < 4 * estimates.std(0) / 30**0.5).all()
    generator = torch.Generator().manual_seed(0)
    bound = torch.stack(
        [content_importance_bound(denoiser, schedule, TOKENS, 40, generator) for _ in range(30)]
    )
    error = bound.std(0) / 30**0.5
    assert ((bound.mean(0)[:, 0] + nelbo).abs() < 4 * error[:, 0]).all()
    assert ((bound.mean(0)[:, -1] - log_p).abs() < 4 * error[:, -1] + 0.01).all()
    given = [row.nonzero()[:, 0].tolist() for row in KNOWN]
    want = [by_orders(denoiser, schedule, x, "jump", g) for x, g in zip(TOKENS, given, strict=True)]
    known = torch.stack(
        [
            content_nelbo(denoiser, schedule, TOKENS, 50, random=StepRandom(step=i), known=KNOWN)
            for i in range(30)
        ]
    )
    exact_known = torch.stack([(q.exp() * c).sum() for q, _, c in want]).detach()
    assert ((known.mean(0) - exact_known).abs() < 4 * known.std(0) / 30**0.5).all()


def test_samples_and_their_likelihood():
    """Every sequence as often as the sum over orders of p(x, pi) says; the mode order has an exact likelihood that sums to 1."""
    denoiser, schedule = causal(0.4), laws()["pooled"]
    everything = torch.tensor(list(itertools.product(range(VOCAB), repeat=LENGTH)))
    orders = torch.tensor(every_order(range(LENGTH)))
    p = sum(
        content_order_log_prob(denoiser, schedule, everything, order.expand_as(everything)).exp()
        for order in orders
    )
    assert p.sum().item() == pytest.approx(1.0)
    trace = sample(denoiser, Sampler(ByRates()), 40_000, schedule=schedule)
    place = (trace.tokens * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(-1)
    seen = torch.bincount(place, minlength=len(everything)).double()
    assert stats.chisquare(seen.numpy(), (40_000 * p).numpy()).pvalue > 1e-4
    mode = sampler_log_prob(denoiser, Sampler(ByRates(0)), everything, schedule).total_log_prob
    assert mode.exp().sum().item() == pytest.approx(1.0)


def test_what_padding_holds_does_not_matter():
    denoiser, schedule, found = random_denoiser(kind=OrderCausalTransformer), laws()["pooled"], []
    gone = torch.arange(LENGTH) >= LENGTHS[:, None]
    for filling, more in ((0, False), (VOCAB - 1, True)):
        out = ContentDense(LENGTH)(
            denoiser,
            schedule,
            TOKENS.masked_fill(gone, filling),
            StepRandom(),
            KNOWN | (gone & more),
            LENGTHS,
        )
        found.append(
            [
                out.nelbo,
                out.by_position,
                *torch.autograd.grad(out.loss, [*denoiser.parameters(), *schedule.parameters()]),
            ]
        )
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    out = ContentDense(LENGTH)(denoiser, schedule, TOKENS, StepRandom(), torch.ones_like(KNOWN))
    assert (out.nelbo == 0).all()
    assert all(
        torch.isfinite(g).all() for g in torch.autograd.grad(out.loss, list(schedule.parameters()))
    )


def test_pooled_network_tells_tokens_at_positions_apart():
    network = pooled()
    swapped = torch.tensor([[0, 1, VOCAB, VOCAB], [1, 0, VOCAB, VOCAB]])
    a, b = network(swapped)
    assert (a - b).abs().max() > 1e-3
    assert network(torch.full((1, LENGTH), VOCAB)).std() > 1e-3, (
        "positions differ where nothing is revealed"
    )
    assert network.along(swapped[:, :3], torch.tensor([[2, 0, 1]]).expand(2, -1)).shape == (
        2,
        3,
        3,
    ), "shorter than the network, too"
    present = torch.tensor([[True, False, True, True]])
    assert torch.equal(
        network(swapped[:1], present), network(torch.tensor([[0, 2, VOCAB, VOCAB]]), present)
    )


def test_wrong_combinations_say_what_to_do():
    law = laws()["pooled"]
    with pytest.raises(ValueError, match="content_order or content_time"):
        ContentDense(LENGTH)(random_denoiser(), law, TOKENS, StepRandom())
    with pytest.raises(ValueError, match="objective time, order or dense"):
        ContentDense(LENGTH)(causal(), Power(LENGTH, FreeTable(LENGTH)), TOKENS, StepRandom())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="denoiser=bidirectional"):
        ContentDense(LENGTH)(causal(), PerVocabulary(LENGTH, VOCAB), TOKENS, StepRandom())
    with pytest.raises(ValueError, match="draws >= 2"):
        ContentDense(LENGTH, 1)(causal(), law, TOKENS, StepRandom())
    with pytest.raises(ValueError, match="jump or rate"):
        ContentDense(LENGTH, bound="elbo")
    network = TokenNetwork(VOCAB, LENGTH, width=8)
    ContentDense(LENGTH)(
        causal(), PerContext(LENGTH, network.double(), network), TOKENS, StepRandom()
    )  # slower, but it goes
