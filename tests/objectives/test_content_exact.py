"""Both objectives of laws that depend on the tokens against enumeration of orders, masks and times: mean and gradient, float64."""

import math
from typing import Any

import pytest
import torch
from content_laws import (
    LENGTH,
    T_MIN,
    VOCAB,
    Additive,
    Static,
    by_quadrature,
    exact_nelbo,
    random_denoiser,
    schedules,
)

from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import content_nelbo, enumerate_orders
from ordo.objectives import (
    ContentOrderSpace,
    ContentTimeSpace,
    Dense,
    LawTooSharp,
    OrderSpace,
    TimeSpace,
)
from ordo.objectives.content import step_terms
from ordo.objectives.content_order import prefix_terms
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import (
    FeatureHead,
    FreeTable,
    Linear,
    LogBound,
    NormSig,
    OrderPosterior,
    PerContext,
    PerVocabulary,
    Power,
    TokenNetwork,
    attach_features,
)

NAMES = list(schedules())
TOKENS = torch.randint(VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(0))
KNOWN = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()
LENGTHS = torch.tensor([4, 3, 2])


def exact(objective, denoiser, schedule, tokens=TOKENS, known=None, lengths=None):
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(tokens):
        x = x if lengths is None else x[: lengths[i]]
        given = [] if known is None else [j for j in range(len(x)) if known[i, j]]
        if isinstance(objective, ContentTimeSpace):
            total = total + by_quadrature(denoiser, schedule, x, given, objective.reconstruction)
        else:
            total = total + exact_nelbo(denoiser, schedule, x, objective.bound, given)
    return total / len(tokens)


OBJECTIVES = {
    "order_jump": lambda: ContentOrderSpace(2, "jump"),
    "order_rate": lambda: ContentOrderSpace(3, "rate"),
    "time_sampled": lambda: ContentTimeSpace(3, T_MIN),
    "time_analytic": lambda: ContentTimeSpace(2, T_MIN, "analytic"),
}


def agrees(objective, denoiser, schedule, known=None, lengths=None, repeats=60, copies=256):
    """Mean, and gradient in every parameter of the law, within 4 standard errors; of many parameters their most distant allows for many."""
    parameters = list(schedule.parameters())
    value = exact(objective, denoiser, schedule, TOKENS, known, lengths)
    want = torch.cat([g.flatten().double() for g in torch.autograd.grad(value, parameters)])
    many = [
        None if x is None else x.repeat(copies, *[1] * (x.ndim - 1))
        for x in (TOKENS, known, lengths)
    ]
    values, gradients = [], []
    for step in range(repeats):
        out = objective(denoiser, schedule, many[0], StepRandom(3, step), *many[1:])
        assert torch.allclose(out.by_position.sum(-1), out.nelbo)
        values.append(out.nelbo.mean())
        gradients.append(
            torch.cat(
                [g.flatten().double() for g in torch.autograd.grad(out.loss * LENGTH, parameters)]
            )
        )
    values, gradients = torch.stack(values), torch.stack(gradients)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - value) < 4 * error
    assert error < 0.02 * value
    error = gradients.std(0) / len(gradients) ** 0.5
    z = ((gradients.mean(0) - want).abs() / error.clamp(min=1e-12))[error > 1e-12]
    assert z.max() < 4 + (0.5 if len(z) > 20 else 0)
    assert (
        (gradients.mean(0) - want)[error <= 1e-12].abs().max() < 1e-9
        if (error <= 1e-12).any()
        else True
    )
    assert error.max() < 0.2 * want.abs().max(), "too noisy to test anything"


def repeats(name, objective):
    """So many that there is something to see: bounded weights have small gradients."""
    return 250 if name in ("per_context", "base") and objective == "time_sampled" else 60


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", NAMES)
def test_mean_and_gradient_equal_enumeration(name, objective):
    agrees(
        OBJECTIVES[objective](),
        random_denoiser().requires_grad_(False),
        schedules()[name],
        repeats=repeats(name, objective),
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["per_context", "both"])
def test_given_and_absent_positions(name, objective):
    """With known positions: mean and gradient of the NELBO of the others, given these. With padding: those of shorter sequences."""
    agrees(
        OBJECTIVES[objective](),
        random_denoiser().requires_grad_(False),
        schedules()[name],
        KNOWN,
        LENGTHS,
        repeats(name, objective),
    )


@pytest.mark.parametrize("name", ["per_vocabulary", "per_context"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_denoiser_gradient(name, objective):
    denoiser, schedule, objective = (
        random_denoiser(),
        schedules()[name].requires_grad_(False),
        OBJECTIVES[objective](),
    )
    (want,) = torch.autograd.grad(exact(objective, denoiser, schedule), denoiser.head.bias)
    got = []
    for step in range(60):
        out = objective(denoiser, schedule, TOKENS.repeat(128, 1), StepRandom(step=step))
        got.append(torch.autograd.grad(out.loss * LENGTH, denoiser.head.bias)[0])
    got = torch.stack(got)
    error = got.std(0) / 60**0.5
    assert ((got.mean(0) - want).abs() < 4 * error).all()
    assert error.max() < 0.1 * want.abs().max()


def shared(denoiser):
    """A law whose numbers come from heads on the denoiser's features."""
    torch.manual_seed(5)
    heads = [FeatureHead(8, hidden=6, init_std=1.0).double() for _ in range(2)]
    schedule = OrderPosterior(LENGTH, heads[0], heads[1])
    attach_features(schedule, denoiser)
    return schedule


@pytest.mark.parametrize("objective", ["order_jump", "time_sampled"])
def test_heads_on_features_equal_enumeration(objective):
    denoiser = random_denoiser().requires_grad_(False)
    agrees(OBJECTIVES[objective](), denoiser, shared(denoiser), KNOWN, LENGTHS)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_stops_at_the_features(objective):
    """The denoiser moves as if the law read the features of a copy of it that is not trained."""
    denoiser, objective = random_denoiser(), OBJECTIVES[objective]()
    schedule, apart = shared(denoiser), shared(random_denoiser().requires_grad_(False))
    for step in range(3):
        mine, others = (
            objective(denoiser, law, TOKENS, StepRandom(step=step), KNOWN, LENGTHS).loss
            for law in (schedule, apart)
        )
        assert mine == others
        for a, b in (
            (
                torch.autograd.grad(loss, parameters, retain_graph=True)
                for loss, parameters in ((mine, p), (others, q))
            )
            for p, q in (
                (list(denoiser.parameters()), list(denoiser.parameters())),
                (list(schedule.parameters()), list(apart.parameters())),
            )
        ):
            assert all(torch.allclose(x, y, atol=1e-12, rtol=0) for x, y in zip(a, b, strict=True))
            assert max(x.abs().max() for x in a) > 1e-3


def test_path_part_alone_is_biased():
    """The gradient test can fail: without the score function the mean misses the enumerated gradient by far."""
    denoiser, schedule = random_denoiser().requires_grad_(False), schedules()["both"]
    (want,) = torch.autograd.grad(exact(ContentOrderSpace(), denoiser, schedule), schedule.w.table)
    found, x = [], TOKENS.repeat(128, 1)
    for step in range(60):
        random = StepRandom(3, step)
        spread, u = random.stratified(len(x), "cpu"), random.uniform(1, len(x), LENGTH, "cpu")[0]
        value = (
            prefix_terms(denoiser, schedule, schedule.law(x), x, spread, u, "jump")[0]
            .sum(-1)
            .mean()
        )
        found.append(torch.autograd.grad(value, schedule.w.table)[0])
    found = torch.stack(found)
    assert ((found.mean(0) - want).abs() > 10 * found.std(0) / 60**0.5).any()


def test_the_jump_bound_is_tighter_and_time_space_tends_to_the_rate_bound():
    denoiser = random_denoiser().requires_grad_(False)
    for name, schedule in schedules().items():
        with torch.no_grad():
            for x in TOKENS:
                jump, rate = (
                    exact_nelbo(denoiser, schedule, x, bound) for bound in ("jump", "rate")
                )
                assert jump < rate - 1e-3, name
                gaps = [
                    abs(by_quadrature(denoiser, schedule, x, t_min=t, nodes=300) - rate)
                    for t in (0.1, 1e-3, 1e-40)
                ]
                assert gaps[0] > gaps[1] > gaps[2], name
                assert gaps[2] < 1e-3 * rate, name


def test_velocity():
    """At least 0, and 0 where the reverse law is the forward law; that of the jump bound also up to scale."""
    generator = torch.Generator().manual_seed(0)
    log_w, log_r = (torch.randn(500, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    masked = torch.rand(500, 6, generator=generator) < 0.5
    cost = torch.zeros(500, 6, dtype=torch.float64)
    law = PlackettLuce(log_w)
    some = masked.sum(1) > 1
    for bound in ("jump", "rate"):
        terms, velocity = step_terms(law, cost, torch.where(masked, log_r, 0.0), masked, bound)
        assert torch.allclose(terms.sum(-1), velocity)
        assert (velocity[some] > 0).all()
        assert (velocity >= -1e-12).all()
        assert (
            step_terms(law, cost, torch.where(masked, log_w, 0.0), masked, bound)[1].abs().max()
            < 1e-12
        )
    jump, rate = (
        step_terms(law, cost, torch.where(masked, log_w + 1.0, 0.0), masked, bound)[1]
        for bound in ("jump", "rate")
    )
    assert jump.abs().max() < 1e-12
    assert torch.allclose(rate, masked.any(1).double() * (math.e - 2.0))


def test_equal_weights_of_tokens_are_the_univariate_schedule():
    """Term by term: per_vocabulary with equal u and OrderSpace, TimeSpace of the linear schedule."""
    denoiser, schedule = random_denoiser(), PerVocabulary(LENGTH, VOCAB)
    for known, lengths in ((None, None), (KNOWN, LENGTHS)):
        for step in range(5):
            random = StepRandom(step=step)
            want = OrderSpace(2)(denoiser, Linear(LENGTH), TOKENS, random, known, lengths)
            for bound in ("jump", "rate"):
                out = ContentOrderSpace(2, bound)(
                    denoiser, schedule, TOKENS, random, known, lengths
                )
                assert torch.allclose(out.by_position, want.by_position, atol=1e-10, rtol=0)
            want = TimeSpace(2, T_MIN)(denoiser, Linear(LENGTH), TOKENS, random, known, lengths)
            out = ContentTimeSpace(2, T_MIN)(denoiser, schedule, TOKENS, random, known, lengths)
            assert torch.allclose(out.by_position, want.by_position, atol=1e-10, rtol=0)


class Constant(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = torch.nn.Parameter(values)

    def forward(self, tokens, present=None):
        return self.values.expand(tokens.shape)


def test_constant_features_are_weights_of_positions():
    """per_context whose networks look at no token, and Power: values, and gradients in the weights."""
    denoiser, table = (
        random_denoiser().requires_grad_(False),
        FreeTable(LENGTH, init_std=0.8).double(),
    )
    power = Power(LENGTH, table)
    log_w = power.log_w().detach()
    forward: Any = Constant(log_w.clone())
    schedule = PerContext(LENGTH, forward, forward, LogBound())
    for bound in ("jump", "rate"):
        for x in TOKENS:
            value = exact_nelbo(denoiser, schedule, x, bound)
            want = enumerate_orders(denoiser, power.law(), x[None]).nelbo[0]
            assert abs(value - want) < 1e-10
            (gradient,) = torch.autograd.grad(value, forward.values)
            (expected,) = torch.autograd.grad(want, table.table)
            assert torch.allclose(gradient - gradient.mean(), expected, atol=1e-10, rtol=0)
            assert abs(gradient.sum()) < 1e-10, "a common factor of w and r changes nothing"
        for step in range(5):
            ours = ContentOrderSpace(2, bound)(
                denoiser, schedule, TOKENS, StepRandom(step=step), KNOWN, LENGTHS
            )
            theirs = OrderSpace(2)(denoiser, power, TOKENS, StepRandom(step=step), KNOWN, LENGTHS)
            assert torch.allclose(ours.by_position, theirs.by_position, atol=1e-10, rtol=0)
            (gradient,) = torch.autograd.grad(ours.loss, forward.values)
            (expected,) = torch.autograd.grad(theirs.loss, table.table)
            assert torch.allclose(gradient - gradient.mean(), expected, atol=1e-10, rtol=0)
    assert isinstance(Static(log_w).law(TOKENS), PlackettLuce)


def test_a_base_alone_is_power():
    """Networks that say 0 and a table of positions under both laws: values and gradients in the table."""
    denoiser, table = (
        random_denoiser().requires_grad_(False),
        FreeTable(LENGTH, init_std=0.8).double(),
    )
    nothing: Any = Constant(torch.zeros(LENGTH, dtype=torch.float64))
    for schedule in (
        OrderPosterior(LENGTH, nothing, nothing, base=table),
        PerContext(LENGTH, nothing, nothing, base=table),
    ):
        for step in range(3):
            ours = ContentOrderSpace(2)(
                denoiser, schedule, TOKENS, StepRandom(step=step), KNOWN, LENGTHS
            )
            theirs = OrderSpace(2)(
                denoiser, Power(LENGTH, table), TOKENS, StepRandom(step=step), KNOWN, LENGTHS
            )
            assert torch.allclose(ours.by_position, theirs.by_position, atol=1e-10, rtol=0)
            (gradient,) = torch.autograd.grad(ours.loss, table.table)
            (expected,) = torch.autograd.grad(theirs.loss, table.table)
            assert torch.allclose(gradient, expected, atol=1e-10, rtol=0)
            assert gradient.abs().max() > 1e-6
    with pytest.raises(ValueError, match="the base gave shape"):
        OrderPosterior(LENGTH, nothing, nothing, base=FreeTable(LENGTH + 1)).log_w(TOKENS)


def test_normsig_is_what_the_paper_says():
    raw = torch.randn(50, LENGTH, dtype=torch.float64) * 3
    w = NormSig(0.7, 0.65)(raw).exp()
    assert torch.allclose(
        w, 0.7 + 0.65 * (torch.sigmoid(raw) - torch.sigmoid(raw).mean(-1, keepdim=True))
    )
    present = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (50, 1))
    part = NormSig(0.7, 0.65)(raw, present).exp()
    for row, there, out in zip(raw, present, part, strict=True):
        assert torch.allclose(out[there], NormSig(0.7, 0.65)(row[there][None])[0].exp())
    assert (LogBound(1.5)(raw).abs() <= 1.5).all()
    with pytest.raises(ValueError, match="c2 < c1"):
        NormSig(0.5, 0.6)
    with pytest.raises(ValueError, match=r"bound=0\.0: must be a number above 0"):
        LogBound(0.0)


def token_network():
    torch.manual_seed(0)
    return TokenNetwork(VOCAB, LENGTH, width=8, heads=2, init_std=1.0).double()


def test_token_network_sees_tokens_and_positions_but_no_padding():
    network = token_network()
    a, b = torch.zeros(2, LENGTH, dtype=torch.long), torch.zeros(2, LENGTH, dtype=torch.long)
    b[:, -1] = 1
    present = torch.arange(LENGTH) < LENGTH - 1
    assert (network(a) - network(b)).abs().min() > 1e-4
    assert torch.equal(
        network(a, present.expand(2, -1))[:, :-1], network(b, present.expand(2, -1))[:, :-1]
    )
    assert torch.allclose(network(a, present.expand(2, -1))[:, :-1], network(a[:, :-1])[:, :])
    assert network(a)[0].std() > 1e-3, "positions differ"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["network", "per_vocabulary"])
def test_what_padding_holds_does_not_matter(name, objective):
    """Not a bit, in value or gradient, nor that it is said to be given; nor is any of it counted. Everything given costs nothing."""
    denoiser, objective = random_denoiser(), OBJECTIVES[objective]()
    schedule = (
        schedules()[name]
        if name == "per_vocabulary"
        else PerContext(LENGTH, token_network(), token_network())
    )
    gone = torch.arange(LENGTH) >= LENGTHS[:, None]
    found = []
    for filling, more in ((0, False), (VOCAB - 1, True)):
        out = objective(
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
    assert (out.by_position[gone | KNOWN] == 0).all()
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    out = objective(denoiser, schedule, TOKENS, StepRandom(), torch.ones_like(KNOWN))
    assert (out.nelbo == 0).all()
    assert all(
        torch.isfinite(g).all() for g in torch.autograd.grad(out.loss, list(schedule.parameters()))
    )


@pytest.mark.parametrize("bound", ["jump", "rate"])
def test_as_a_likelihood(bound):
    """Sequence by sequence, with and without given positions."""
    denoiser = random_denoiser().requires_grad_(False)
    for name in ("per_context", "both"):
        schedule = schedules()[name]
        for known in (None, KNOWN):
            given = [[] if known is None else row.nonzero()[:, 0].tolist() for row in KNOWN]
            want = torch.stack(
                [
                    exact_nelbo(denoiser, schedule, x, bound, g)
                    for x, g in zip(TOKENS, given, strict=True)
                ]
            ).detach()
            values = torch.stack(
                [
                    content_nelbo(
                        denoiser, schedule, TOKENS, 200, bound, StepRandom(step=step), known
                    )
                    for step in range(40)
                ]
            )
            error = values.std(0) / 40**0.5
            assert ((values.mean(0) - want).abs() < 4 * error).all()
            assert (error < 0.02 * want).all()


def test_static_shapes_give_the_same(monkeypatch):
    """As on a device on which no shape may depend on data."""
    denoiser, found = random_denoiser(), []
    for static in (False, True):
        for module in ("denoisers.cost", "objectives.content", "objectives.content_time"):
            monkeypatch.setattr(
                f"ordo.{module}.static_shapes", lambda device, static=static: static
            )
        for name, schedule in schedules().items():
            for make in OBJECTIVES.values():
                out = make()(denoiser, schedule, TOKENS, StepRandom(), KNOWN, LENGTHS)
                found.append(
                    (
                        static,
                        name,
                        out.by_position,
                        *torch.autograd.grad(out.loss, list(schedule.parameters())),
                    )
                )
    half = len(found) // 2
    for (_, name, *a), (_, _, *b) in zip(found[:half], found[half:], strict=True):
        assert all(torch.allclose(x, y, atol=1e-12) for x, y in zip(a, b, strict=True)), name


def test_wrong_combinations_say_what_to_do():
    both, laws = random_denoiser(), schedules()
    causal = random_denoiser(kind=OrderCausalTransformer)
    for objective in (ContentOrderSpace(), ContentTimeSpace()):
        with pytest.raises(ValueError, match="bidirectional denoiser"):
            objective(causal, laws["both"], TOKENS, StepRandom())
        with pytest.raises(ValueError, match="objective time, order or dense"):
            objective(both, Linear(LENGTH), TOKENS, StepRandom())
        objective.draws = 1
        with pytest.raises(ValueError, match="draws >= 2"):
            objective(both, laws["both"], TOKENS, StepRandom())
    for objective, denoiser in ((OrderSpace(), both), (TimeSpace(), both), (Dense(LENGTH), causal)):
        with pytest.raises(ValueError, match="content_dense"):
            objective(denoiser, laws["per_context"], TOKENS, StepRandom())
    with pytest.raises(ValueError, match="jump or rate"):
        ContentOrderSpace(2, "elbo")
    with pytest.raises(ValueError, match="sampled or analytic"):
        ContentTimeSpace(2, T_MIN, "none")
    with pytest.raises(ValueError, match="t_min"):
        ContentTimeSpace(2, 0.0)
    sharp = PerContext(LENGTH, Additive(std=20.0), Additive(), LogBound())
    with pytest.raises(LawTooSharp, match="content_order"):
        ContentTimeSpace()(both, sharp, TOKENS, StepRandom())
    with pytest.raises(ValueError, match="shape"):
        ContentOrderSpace()(
            both, PerContext(LENGTH, FreeNetwork(), FreeNetwork()), TOKENS, StepRandom()
        )


class FreeNetwork(torch.nn.Module):
    def forward(self, tokens, present=None):
        return torch.zeros(LENGTH)
