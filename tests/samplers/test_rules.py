"""Every rule against a second, independent computation: by hand, by enumeration, or by the law's
own probabilities.
"""

import pytest
import torch
from laws import KINDS, LENGTH, VOCAB, every, markov_chain, network, power

from benchmarks.oracle import given_orders, information_profile
from ordo.data import MarkovChain
from ordo.denoisers import BidirectionalTransformer, ChainOracle
from ordo.likelihood import (
    enumerate_orders,
    importance_bound,
    nelbo,
    order_log_prob,
    sampler_log_prob,
    subset_likelihood,
)
from ordo.order import FixedOrder, PlackettLuce
from ordo.randomness import RowRandom, StepRandom, row_seeds
from ordo.samplers import (
    All,
    ByGroups,
    ByLaw,
    ByOrder,
    ByScore,
    EntropyBounded,
    Factor,
    ForwardBackward,
    InSteps,
    NonInfluence,
    OnGrid,
    PathPlanning,
    ReMDM,
    Sampler,
    Settled,
    Stable,
    Threshold,
    TokenRule,
    best_sizes,
    factorisation_kl,
    sample,
)
from ordo.schedules import Linear

PARALLEL = {
    "steps": Sampler(ByScore("margin"), InSteps(3)),
    "cosine": Sampler(ByScore("entropy"), InSteps(3, "cosine")),
    "sizes": Sampler(ByOrder("right_to_left"), InSteps(shape=[1, 1, 3])),
    "threshold": Sampler(ByScore(), Threshold(0.6)),
    "factor": Sampler(ByScore(), Factor(1.0)),
    "entropy_bounded": Sampler(ByScore("entropy"), EntropyBounded(0.4)),
    "klass": Sampler(Stable(confidence=0.4, kl=0.3, history=1), Settled()),
    "dilated": Sampler(ByOrder("dilated"), ByGroups(ByOrder("dilated"))),
    "bisection": Sampler(ByOrder("bisection"), ByGroups(ByOrder("bisection"))),
    "blocks": Sampler(ByScore(), InSteps(2), block=3),
    "mode": Sampler(ByLaw(0), InSteps(2)),
    "truncated": Sampler(ByScore(), InSteps(2), TokenRule(0.8, top_p=0.9)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PARALLEL)
def test_exact_likelihood_of_deterministic_rules(name, kind):
    """It sums to one over all sequences, is what samples are scored with, and what they follow."""
    net, sampler, schedule = network(kind), PARALLEL[name], power()
    assert sampler.deterministic
    rows = every(LENGTH, VOCAB)
    log_p = sampler_log_prob(net, sampler, rows, schedule).total_log_prob
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-10)
    n = 2500
    trace = sample(net, sampler, n, schedule=schedule)
    code = (trace.tokens * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    assert torch.allclose(trace.total_log_prob, log_p[code], atol=1e-10)
    seen = torch.bincount(code, minlength=len(rows)).double() / n
    p = log_p.exp()
    error = (p * (1 - p) / n).sqrt()
    assert ((seen - p).abs() < 5 * error + 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_by_one_in_a_given_order(kind):
    net, rows = network(kind), every(LENGTH, VOCAB)[::7]
    order = torch.tensor([3, 0, 4, 1, 2])
    trace = sampler_log_prob(net, Sampler(ByOrder(order.tolist())), rows)
    assert torch.allclose(trace.total_log_prob, order_log_prob(net, rows, order), atol=1e-10)
    assert torch.equal(trace.order, order.expand(len(rows), -1))
    by_rank = net.order_log_prob(rows, order.expand(len(rows), -1))
    assert torch.allclose(trace.log_prob.gather(1, trace.order), by_rank, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_orders_follow_the_law(kind):
    """The joint law of samples is the mixture over orders, enumerated; orders the wrong way round
    are found out.
    """
    net, schedule, n = network(kind, 3, std=1.2), power(3), 12_000
    rows = every(3, VOCAB)
    mixture = enumerate_orders(net, schedule.law(), rows).log_mixture.exp()
    error = (mixture * (1 - mixture) / n).sqrt()
    for law, right in ((schedule, True), (Wrong(schedule), False)):
        trace = sample(net, Sampler(), n, schedule=law)
        code = (trace.tokens * VOCAB ** torch.arange(2, -1, -1)).sum(1)
        seen = torch.bincount(code, minlength=27).double() / n
        assert (((seen - mixture).abs() < 4.5 * error + 1e-4).all()) == right
        first = torch.bincount(trace.order[:, 0], minlength=3).double() / n
        assert torch.allclose(first, schedule.law().log_w.softmax(0), atol=0.015) == right
    tempered = sample(net, Sampler(ByLaw(0.5)), n, schedule=schedule).order[:, 0]
    assert torch.allclose(
        torch.bincount(tempered, minlength=3) / n,
        (2 * schedule.law().log_w).softmax(0).float(),
        atol=0.015,
    )


class Wrong(Linear):
    """The ascending order of a schedule."""

    def __init__(self, schedule):
        super().__init__(schedule.length)
        self.other = schedule

    def law(self):
        return PlackettLuce(-self.other.law().log_w)


def test_ancestral_sampling_reveals_with_the_right_probability():
    """Which positions are revealed by time s, for sharp schedules, on every grid: alpha_l(s)."""
    schedule, n = power(), 20_000
    oracle = ChainOracle.of_chain(LENGTH, 2, 0.3)
    for spacing in ("linear", "cosine", "equal_mass"):
        grid = OnGrid(4, spacing)
        trace = sample(oracle, Sampler(how_many=grid), n, schedule=schedule)
        times = grid.times(schedule)
        if spacing == "equal_mass":
            assert torch.allclose(
                schedule.alpha(times).mean(1), torch.linspace(0, 1, 5).double(), atol=1e-9
            )
        for k in range(1, 5):
            alpha = schedule.alpha(times[k : k + 1])[0] if k < 4 else torch.ones(LENGTH).double()
            seen = (trace.step < k).double().mean(0)
            assert ((seen - alpha).abs() < 4.5 * (alpha * (1 - alpha) / n).sqrt() + 1e-9).all(), (
                spacing,
                k,
            )
        assert (trace.calls <= 4).all()
        assert trace.calls.double().mean() < 4, "rows in which nothing is revealed cost no call"


def test_parallel_rules_on_a_chain():
    """KL to the law of 64 positions in 7 calls: bisection none, random orders 3.29 (± .7),
    contiguous blocks 17.5.
    """
    chain = MarkovChain(64, 2, 0.1)
    oracle = ChainOracle.of_chain(64, 2, 0.1)
    rows = chain.sample(400, torch.Generator().manual_seed(0))
    log_law = chain.log_prob(rows)
    assert torch.allclose(oracle.log_law(rows), log_law, atol=1e-10)

    def kl(sampler):
        trace = sampler_log_prob(oracle, sampler, rows)
        assert (trace.calls <= 7).all()
        return (log_law - trace.total_log_prob).mean().item()

    bisection = ByOrder("bisection")
    assert kl(Sampler(bisection, ByGroups(bisection))) == pytest.approx(0, abs=1e-10)
    assert kl(Sampler(ByOrder(), InSteps(7))) == pytest.approx(17.5, abs=1.0)
    orders = [
        torch.randperm(64, generator=torch.Generator().manual_seed(i)).tolist() for i in range(8)
    ]
    random = [kl(Sampler(ByOrder(order), InSteps(7))) for order in orders]
    assert sum(random) / 8 == pytest.approx(3.29, abs=0.7)
    dilated = ByOrder("dilated")
    assert kl(Sampler(dilated, ByGroups(dilated))) < 0.01


def test_predicted_and_measured_factorisation_kl():
    """The information profile predicts the loss of random orders in parallel, and the best step
    sizes beat uniform and cosine ones.
    """
    length = 16
    chain, oracle = MarkovChain(length, 2, 0.1), ChainOracle.of_chain(length, 2, 0.1)
    rows = chain.sample(1000, torch.Generator().manual_seed(0))
    log_law = chain.log_prob(rows)
    profile = information_profile(oracle, rows, seed=1)
    assert profile.sum().item() == pytest.approx(chain.entropy, abs=0.05), "the chain rule"
    for calls in (2, 4, 8):
        shapes = {"best": best_sizes(profile, calls)} | {
            s: InSteps(calls, s).sizes(length) for s in ("uniform", "cosine")
        }
        assert (sum(shapes["best"]), len(shapes["best"])) == (length, calls)
        predicted = {name: factorisation_kl(profile, sizes) for name, sizes in shapes.items()}
        assert predicted["best"] <= min(predicted.values()) + 1e-12
        measured = {}
        for name in ("best", "uniform"):
            log_q = given_orders(oracle, rows, shapes[name], orders=100, seed=0)
            measured[name] = (log_law - log_q).mean().item()
        for name, value in measured.items():
            assert abs(value - predicted[name]) < 0.06 + 0.1 * predicted[name], (
                calls,
                measured,
                predicted,
            )
        assert measured["best"] <= measured["uniform"] + 0.03, (calls, measured)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_without_positions_is_no_step(kind):
    """More calls than positions to decode: one each."""
    known = torch.rand(20, LENGTH, generator=torch.Generator().manual_seed(0)) < 0.5
    given = torch.zeros(20, LENGTH, dtype=torch.int64)
    for where in (ByScore("margin"), ByLaw()):
        trace = sample(network(kind), Sampler(where, InSteps(3 * LENGTH)), given=given, known=known)
        assert torch.equal(trace.calls, (~known).sum(1))


def test_best_sizes_against_all_compositions():
    profile = torch.tensor([2.0, 1.9, 1.0, 0.7, 0.65, 0.1, 0.05], dtype=torch.float64)

    def compositions(total, parts):
        if parts == 1:
            yield [total]
            return
        for first in range(1, total - parts + 2):
            for rest in compositions(total - first, parts - 1):
                yield [first, *rest]

    for calls in range(1, 8):
        best = min(factorisation_kl(profile, sizes) for sizes in compositions(7, calls))
        assert factorisation_kl(profile, best_sizes(profile, calls)) == pytest.approx(
            best, abs=1e-12
        )
    with pytest.raises(ValueError, match="from 1 to 7"):
        best_sizes(profile, 8)


def test_likelihoods_in_their_order():
    """mixture >= importance bound, rising in K >= -NELBO, on random denoisers; an oracle's NELBO is
    the entropy under every schedule.
    """
    net, rows = network(BidirectionalTransformer), every(LENGTH, VOCAB)[::5]
    law = power().law()
    exact = subset_likelihood(net, law, rows)
    bound = torch.stack(
        [importance_bound(net, law, rows, 8, torch.Generator().manual_seed(i)) for i in range(60)]
    ).mean(0)
    assert (exact.log_mixture > -exact.nelbo).all()
    assert (bound.mean(0).diff() > 0).all()
    assert (bound[:, -1] < exact.log_mixture + 0.02).all()
    assert (bound[:, 0] + exact.nelbo).mean().abs() < 0.1
    chain = markov_chain()
    entropy = -(chain.p * chain.p.log()).sum()
    drawn = chain.sequences[
        torch.multinomial(
            chain.p, 3000, replacement=True, generator=torch.Generator().manual_seed(0)
        )
    ]
    for schedule in (Linear(6), power(6)):
        losses = nelbo(chain.oracle, schedule.law(), drawn, draws=4, random=StepRandom(0))
        assert abs(losses.mean() - entropy).item() < 4 * losses.std().item() / 3000**0.5
        total = subset_likelihood(chain.oracle, schedule.law(), chain.sequences[:8])
        assert torch.allclose(total.log_mixture, chain.p[:8].log(), atol=1e-10)
        assert torch.allclose(-total.nelbo, chain.p[:8].log(), atol=1e-10)
    for sampler in (
        Sampler(ByScore("margin")),
        Sampler(ByOrder("bisection")),
        Sampler(ByScore("entropy"), block=2),
    ):
        assert torch.allclose(
            sampler_log_prob(chain.oracle, sampler, chain.sequences).total_log_prob,
            chain.p.log(),
            atol=1e-10,
        )


def test_why_a_sampler_has_no_likelihood():
    net, rows = network(BidirectionalTransformer), every(LENGTH, VOCAB)[:2]
    for sampler, reason in (
        (Sampler(), "nelbo, importance_bound or, up to 14 positions, subset_likelihood"),
        (Sampler(ByScore(score_on="drawn")), "thrown away"),
        (Sampler(ByScore(noise=1.0)), "at random"),
        (Sampler(how_many=OnGrid(4)), "at random"),
        (Sampler(how_many=OnGrid(4), revise=ReMDM()), "masked again"),
        (Sampler(ByScore(), NonInfluence()), "at random"),
    ):
        with pytest.raises(ValueError, match=reason):
            sampler_log_prob(net, sampler, rows)


EVERYTHING = PARALLEL | {
    "law": Sampler(),
    "drawn": Sampler(ByScore(score_on="drawn", noise=1.0), InSteps(3, "cosine")),
    "punt": Sampler(ByScore(), NonInfluence(0.05)),
    "ancestral": Sampler(how_many=OnGrid(4, "cosine")),
    "remdm_cap": Sampler(how_many=OnGrid(8), revise=ReMDM(eta=0.3)),
    "remdm_rescale": Sampler(how_many=OnGrid(8), revise=ReMDM("rescale", 0.5)),
    "remdm_confidence": Sampler(how_many=OnGrid(8), revise=ReMDM(eta=1.0, confidence=True)),
    "remdm_loop": Sampler(how_many=OnGrid(8, hold=(0.6, 0.4)), revise=ReMDM(eta=0.3, loop=True)),
    "forward_backward": Sampler(how_many=OnGrid(4), revise=ForwardBackward(2)),
    "path_planning": Sampler(ByLaw(), All(), revise=PathPlanning(5, eta=1.5)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EVERYTHING)
def test_rows_do_not_depend_on_one_another(name, kind):
    """The same rows whatever the batch, whatever is asked of its other rows; given tokens stay;
    traces are consistent.
    """
    net, sampler, schedule = network(kind), EVERYTHING[name], power()
    if net.order_causal and name == "path_planning":
        with pytest.raises(ValueError, match="planner"):
            sample(net, sampler, 2, schedule=schedule)
        return
    known = torch.rand(40, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.4
    known[0], known[1] = True, False
    given = torch.randint(VOCAB, (40, LENGTH), generator=torch.Generator().manual_seed(2))
    whole = sample(net, sampler, schedule=schedule, seed=5, given=given, known=known)
    for start, size in ((0, 1), (1, 3), (17, 20)):
        rows = slice(start, start + size)
        part = sample(
            net,
            sampler,
            schedule=schedule,
            seed=5,
            first_row=start,
            given=given[rows],
            known=known[rows],
        )
        assert torch.equal(part.tokens, whole.tokens[rows])
        assert torch.equal(part.rank, whole.rank[rows])
        assert torch.equal(part.calls, whole.calls[rows])
        assert torch.allclose(part.log_prob, whole.log_prob[rows], atol=1e-10)
    assert torch.equal(whole.tokens[known], given[known])
    assert ((whole.rank == -1) == known).all()
    assert ((whole.step == -1) == known).all()
    assert (whole.rank.max(1).values == (~known).sum(1) - 1).all()
    assert (whole.remasked[known] == 0).all()
    assert whole.calls[0] == 0, "a row that is given whole costs nothing"
    assert not torch.equal(
        sample(net, sampler, 40, schedule=schedule, seed=6).tokens,
        sample(net, sampler, 40, schedule=schedule).tokens,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_not_seen(kind):
    """Rows of different lengths: what a row of length 3 becomes does not depend on the positions
    behind it.
    """
    net = network(kind)
    lengths = torch.tensor([3, 5, 3, 4])
    for sampler in (Sampler(ByScore("margin")), Sampler(), Sampler(ByScore(), Threshold(0.5))):
        trace = sample(net, sampler, 4, lengths=lengths, schedule=power())
        absent = torch.arange(LENGTH) >= lengths[:, None]
        assert (trace.rank[absent] == -1).all()
        assert (trace.tokens[absent] == net.mask_id).all()
        assert (trace.rank.max(1).values == lengths - 1).all()
    if kind is BidirectionalTransformer:
        tokens = torch.tensor([[0, VOCAB, 1, VOCAB, VOCAB], [0, VOCAB, 1, 2, 0]])
        present = torch.arange(LENGTH) < 3
        out = net(tokens, present=present.expand(2, -1))
        assert torch.allclose(out[0, :3], out[1, :3], atol=1e-12)


def test_non_influence_on_independent_and_dependent_positions():
    """Independent tokens are decoded in one step; a chain without flips takes one token, and then
    all.
    """
    free = ChainOracle(
        6, torch.tensor([0.3, 0.7]), torch.tensor([[0.3, 0.7]]).expand(2, -1), torch.eye(2)
    )
    assert (sample(free, Sampler(ByScore(), NonInfluence(1e-6)), 50).step == 0).all()
    tied = ChainOracle.of_chain(6, 2, 1e-6)
    trace = sample(tied, Sampler(ByScore(), NonInfluence(1e-2)), 50)
    assert (trace.rank[trace.step == 0] == 0).all(), "one position first"
    assert (trace.step.max(1).values == 1).all(), "and the others, now certain, at once"


@pytest.mark.parametrize("kind", KINDS)
def test_non_influence_of_nothing(kind):
    """With no influence allowed, a network in which every position influences every other decodes
    one by one.
    """
    trace = sample(network(kind), Sampler(ByScore(), NonInfluence(0.0)), 20)
    assert (trace.step.max(1).values == LENGTH - 1).all()


def test_uniforms_are_uniform_and_independent():
    u = RowRandom(row_seeds(0, 2000)).uniform(3, 1, 50)
    assert (u > 0).all()
    assert (u < 1).all()
    counts = torch.histc(u.flatten(), 100, 0, 1)
    assert ((counts - 1000) ** 2 / 1000).sum() < 99 + 5 * (2 * 99) ** 0.5
    other = [
        RowRandom(row_seeds(0, 2000)).uniform(3, 2, 50),
        RowRandom(row_seeds(0, 2000)).uniform(4, 1, 50),
        RowRandom(row_seeds(1, 2000)).uniform(3, 1, 50),
    ]
    neighbours = [(u[:, 1:], u[:, :-1]), (u[1:], u[:-1])] + [(u, x) for x in other]
    for a, b in neighbours:
        assert (
            abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item())
            < 4.5 / a.numel() ** 0.5
        )
    assert torch.equal(row_seeds(7, 10)[4:6], row_seeds(7, 2, first=4))


def test_bad_settings():
    for build, told in (
        (lambda: TokenRule(temperature=-1), "temperature"),
        (lambda: TokenRule(top_p=0), "top_p"),
        (lambda: ByScore("luck"), "confidence, margin"),
        (lambda: ByScore("margin", score_on="drawn"), "score=confidence"),
        (lambda: ByOrder("sideways"), "bisection"),
        (lambda: InSteps(0), "calls"),
        (lambda: InSteps(3, [1, 2]), "number of calls, or else"),
        (lambda: OnGrid(4, "square"), "linear, cosine"),
        (lambda: OnGrid(4, hold=(1.5, 0.5)), "hold"),
        (lambda: ReMDM("lid"), "cap or rescale"),
        (lambda: Sampler(revise=ReMDM()), "on_grid"),
        (lambda: Sampler(how_many=OnGrid(9), revise=ReMDM(loop=True)), "hold"),
        (lambda: Sampler(revise=PathPlanning(4)), "how_many all"),
        (lambda: Sampler(block=0), "block"),
    ):
        with pytest.raises(ValueError, match=told):
            build()
    net = network(BidirectionalTransformer)
    rows = every(LENGTH, VOCAB)[:3]
    for call, told in (
        (lambda: sample(net, Sampler()), "how many"),
        (lambda: sample(net, Sampler(), 2, given=rows), "come together"),
        (lambda: sample(net, Sampler(), 2, given=rows, known=rows > 0), "must be"),
        (lambda: sample(net, Sampler(), given=rows + 2, known=rows >= 0), "outside of 0..2"),
        (lambda: sample(net, Sampler(), 2, schedule=Linear(4)), "4 positions"),
        (lambda: sample(net, Sampler(ByOrder([0, 1])), 2), "permutation"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    assert (
        FixedOrder(torch.arange(3)).keys(torch.rand(2, 3)).argsort(descending=True).tolist()
        == [[0, 1, 2]] * 2
    )
