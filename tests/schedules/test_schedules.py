"""Every schedule against its definition: ends, derivative, hazard, inverse, order law, gradients;
float64 throughout.
"""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import nn

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Dense, TimeSpace
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import (
    ArrivalTimes,
    Cosine,
    FreeTable,
    Geometric,
    GivenOrder,
    Kumaraswamy,
    Linear,
    Polynomial,
    PositionNetwork,
    Power,
    Schedule,
)

LENGTH = 4
LOG_W = [-0.5, 0.1, -0.2, 0.6]


def table(values):
    """A FreeTable with these numbers, float64 so that finite differences are sharp."""
    network = FreeTable(len(values)).double()
    network.table.data = torch.tensor(values, dtype=torch.float64)
    return network


def shared():
    torch.manual_seed(0)
    return PositionNetwork(LENGTH, cosines=3, init_std=0.1).double()


FAMILIES = {
    "linear": lambda: Linear(LENGTH),
    "cosine": lambda: Cosine(LENGTH),
    "square": lambda: Polynomial(LENGTH),
    "root": lambda: Polynomial(LENGTH, 0.75),
    "geometric": lambda: Geometric(LENGTH),
    "power_table": lambda: Power(LENGTH, table(LOG_W)),
    "power_table_bound": lambda: Power(LENGTH, table(LOG_W), bound=0.7),
    "power_shared": lambda: Power(LENGTH, shared()),
    "power_shared_bound": lambda: Power(LENGTH, shared(), bound=0.7),
    "kumaraswamy": lambda: Kumaraswamy(
        LENGTH, table([-0.2, 0.0, 0.1, 0.2]), table([0.2, -0.2, 0.1, 0.0])
    ),
    "given_order": lambda: GivenOrder(LENGTH, [2, 0, 3, 1]),
}
UNIVARIATE = ["linear", "cosine", "square", "root", "geometric"]
LEARNED = ["power_table", "power_table_bound", "power_shared", "power_shared_bound", "kumaraswamy"]


@pytest.fixture(params=FAMILIES)
def schedule(request):
    return FAMILIES[request.param]()


def times(low=0.03, high=0.97, n=16):
    """Off the kinks of GivenOrder at multiples of 1/4."""
    return torch.linspace(low, high, n, dtype=torch.float64)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(a, b, rtol=0.0, atol=0.0):
    torch.testing.assert_close(a.detach(), b.detach(), rtol=rtol, atol=atol)


# --- alpha, derivative, hazard, inverse ---


def test_alpha_runs_down_from_one_to_zero(schedule):
    alpha = schedule.alpha(column(0.0, *torch.linspace(0.01, 0.99, 99).tolist(), 1.0)).detach()
    close(alpha[0], torch.ones_like(alpha[0]))
    close(alpha[-1], torch.zeros_like(alpha[0]), atol=1e-14)
    step = alpha.diff(dim=0)
    assert (step <= 0).all() if isinstance(schedule, GivenOrder) else (step < 0).all()


def test_shapes_and_dtype(schedule):
    t = times(n=3)
    each = torch.stack([t, t / 2, t / 3, t / 5], dim=1)
    calls = [schedule.alpha, schedule.alpha_prime, schedule.rate, schedule.inverse]
    calls += [lambda t: schedule.log_mask_prob(t)[0], lambda t: schedule.log_mask_prob(t)[1]]
    for call in calls:
        by_row, by_position = call(t), call(each)
        assert by_row.shape == by_position.shape == (3, LENGTH)
        assert by_row.dtype == by_position.dtype == torch.float64
        close(by_row, call(t[:, None].expand(-1, LENGTH)))
        for position, divisor in enumerate((1, 2, 3, 5)):
            close(by_position[:, position], call(t / divisor)[:, position], rtol=1e-12)
        assert call(t.float()).dtype == torch.float64


def test_derivative_is_autograds_and_that_of_central_differences(schedule):
    t, h = times(), 1e-5
    slope = schedule.alpha_prime(t)
    close(slope, Schedule.alpha_prime(schedule, t), rtol=1e-10, atol=1e-12)
    close(slope, (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2 * h), rtol=1e-7, atol=1e-8)
    assert (slope <= 0).all()


def test_rate_is_the_hazard(schedule):
    t = times(low=0.1)
    alpha, rate = schedule.alpha(t), schedule.rate(t)
    begun = alpha < 1  # GivenOrder: before its interval a token is clean for certain
    close(rate[begun], (-schedule.alpha_prime(t) / (1 - alpha))[begun], rtol=1e-9)
    assert (rate[~begun] == 0).all()
    if begun.all():
        close(rate, Schedule.rate(schedule, t), rtol=1e-9)


def decimal_kumaraswamy(a, b, t):
    """(rate, log P(masked), log P(clean)) to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        a, b, t = Decimal(a), Decimal(b), Decimal(t)
        power = (a * t.ln()).exp()
        clean = (b * (1 - power).ln()).exp()
        rate = a * b * power / t * clean / (1 - power) / (1 - clean)
        return float(rate), float((1 - clean).ln()), float(clean.ln())


def decimal_geometric_rate(schedule, t):
    with localcontext() as context:
        context.prec = 60
        low, ratio, t = Decimal(schedule.sigma_min), Decimal(schedule.ratio), Decimal(t)
        sigma = low * (ratio * t).exp()
        alpha, start = (-sigma).exp(), (-low).exp()
        return float(ratio * sigma * alpha / (start - alpha))


@pytest.mark.parametrize("family", FAMILIES)
def test_rate_at_tiny_time(family):
    t0, schedule = 1e-6, FAMILIES[family]()
    rate = schedule.rate(column(t0))[0].detach()
    if family == "geometric":
        expected = torch.full_like(rate, decimal_geometric_rate(schedule, t0))
    elif family == "kumaraswamy":
        a, b = (v.tolist() for v in schedule.shape())
        expected = column(*(decimal_kumaraswamy(a[i], b[i], t0)[0] for i in range(LENGTH)))
    elif family == "given_order":
        expected = column(0, 1 / t0, 0, 0)
    elif family == "cosine":
        x = math.pi / 2 * t0
        expected = torch.full_like(rate, math.pi / 2 * (1 / x - x / 3))
    elif isinstance(schedule, Power):
        expected = schedule.log_w().exp() / t0
    else:
        expected = torch.full_like(rate, getattr(schedule, "power", 1.0) / t0)
    close(rate, expected, rtol=1e-6)


def test_rate_is_finite_over_the_whole_open_interval(schedule):
    assert torch.isfinite(schedule.rate(column(1e-9, 1e-6, 1e-3, 0.5, 1 - 1e-9))).all()


def test_inverse_undoes_alpha_and_agrees_with_bisection(schedule):
    t = times(low=0.1)
    alpha = schedule.alpha(t)
    inside = (alpha > 0) & (alpha < 1)
    close(schedule.inverse(1 - alpha)[inside], t[:, None].expand_as(alpha)[inside], atol=1e-10)
    u = times(low=0.01, high=0.99)
    close(schedule.alpha(schedule.inverse(u)), 1 - u[:, None].expand(-1, LENGTH), atol=1e-12)
    close(schedule.inverse(u), Schedule.inverse(schedule, u), atol=1e-10)


def test_inverse_stays_in_the_unit_interval(schedule):
    tau = schedule.inverse(column(0.0, 1e-300, 1e-9, 1 - 1e-9, 1 - 2**-53, 1.0)).detach()
    assert (tau >= 0).all()
    assert (tau <= 1 + 1e-11).all()  # Geometric(20) is flat at its end: 1 only to 5e-12
    assert (tau.diff(dim=0) >= 0).all()


def test_log_mask_prob(schedule):
    t = times(low=0.1)
    alpha = schedule.alpha(t)
    log_masked, log_clean = schedule.log_mask_prob(t)
    close(log_masked, torch.log1p(-alpha), rtol=1e-9, atol=1e-12)
    close(log_clean, alpha.log(), rtol=1e-9, atol=1e-12)


def test_hazard_times_survival_integrates_to_one(schedule):
    if isinstance(schedule, GivenOrder):  # midpoint rule, whose cells end at the kinks
        t = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
        dt = torch.full_like(t, 1 / 4000)
    else:  # trapezoid in logit t: exponentially accurate, also for the integrable poles at 0 and 1
        y = torch.arange(-26.0, 34.0, 0.02, dtype=torch.float64)
        t, dt = y.sigmoid(), 0.02 * y.sigmoid() * (-y).sigmoid()
    for density in (schedule.rate(t) * (1 - schedule.alpha(t)), -schedule.alpha_prime(t)):
        close((density * dt[:, None]).sum(0), torch.ones(LENGTH, dtype=torch.float64), atol=1e-6)


# --- identities between families ---


def test_kumaraswamy_with_b_one_is_power():
    log_a = [-0.9, 0.2, 0.1, 0.6]
    a, b = (
        Kumaraswamy(LENGTH, table(log_a), table([0.0] * LENGTH), bound=2.0),
        Power(LENGTH, table(log_a), bound=2.0),
    )
    t = times()
    for name in ("alpha", "alpha_prime", "rate", "inverse"):
        close(getattr(a, name)(t), getattr(b, name)(t), rtol=1e-9)
    for x, y in zip(a.log_mask_prob(t), b.log_mask_prob(t), strict=True):
        close(x, y, rtol=1e-9)


def test_power_reveals_by_the_ratio_of_times():
    """P(revealed between t and s | masked at t) = 1 - (s / t)^w."""
    schedule = FAMILIES["power_table"]()
    t, s = times(0.2, 0.9), times(0.1, 0.8)
    revealed = (schedule.alpha(s) - schedule.alpha(t)) / (1 - schedule.alpha(t))
    close(revealed, 1 - (s / t)[:, None] ** schedule.log_w().exp(), rtol=1e-12)


def test_power_fixes_the_gauge():
    schedule, shifted = Power(LENGTH, table(LOG_W)), Power(LENGTH, table([v + 3.0 for v in LOG_W]))
    assert abs(schedule.log_w().mean()) < 1e-15
    close(schedule.log_w(), shifted.log_w(), atol=1e-12)
    assert (Power(LENGTH, table([9.0, -9.0, 50.0, 0.0]), bound=2.0).log_w().abs() <= 2.0).all()


# --- order laws ---


def drawn_orders(schedule, descending=True, n=40000):
    """Orders (n, LENGTH) from arrival times by the schedule's own inverse; decoding goes down in
    time.
    """
    u = torch.rand(n, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return schedule.inverse(u).detach().argsort(dim=-1, descending=descending)


def chi_square(orders, law, all_orders):
    """Pearson's statistic over all 24 orders; 23 degrees of freedom, 99.99 % quantile 58."""
    digits = torch.tensor([LENGTH**i for i in range(LENGTH)])
    every = all_orders(LENGTH)
    seen = ((orders @ digits)[:, None] == (every @ digits)[None]).sum(0)
    expected = law.log_prob(every).exp().detach() * len(orders)
    return ((seen - expected) ** 2 / expected).sum().item()


@pytest.mark.parametrize("family", ["power_table", "power_shared_bound", *UNIVARIATE])
def test_descending_arrival_times_follow_the_order_law(family, all_orders):
    schedule = FAMILIES[family]()
    assert chi_square(drawn_orders(schedule), schedule.law(), all_orders) < 58


@pytest.mark.parametrize("log_w", [LOG_W, [2.0, -1.0, 0.5, -1.5]])
def test_ascending_arrival_times_do_not(log_w, all_orders):
    """Algorithm 1 of the paper sorts upwards; that is the order of masking, and not the reversed
    law either.
    """
    schedule = Power(LENGTH, table(log_w))
    assert chi_square(drawn_orders(schedule), schedule.law(), all_orders) < 58
    assert chi_square(drawn_orders(schedule, descending=False), schedule.law(), all_orders) > 1000


@pytest.mark.parametrize("family", UNIVARIATE)
def test_univariate_law_is_uniform(family):
    close(FAMILIES[family]().law().log_w, torch.zeros(LENGTH, dtype=torch.float64))


@pytest.mark.parametrize(
    ("order", "positions"),
    [
        ("left_to_right", [0, 1, 2, 3]),
        ("right_to_left", [3, 2, 1, 0]),
        ([2, 0, 3, 1], [2, 0, 3, 1]),
    ],
)
def test_given_order_decodes_in_that_order(order, positions):
    schedule = GivenOrder(LENGTH, order)
    assert schedule.law().mode().tolist() == positions
    assert (drawn_orders(schedule, n=100) == torch.tensor(positions)).all()


def test_arrival_times_expected_rank_is_plackett_luces():
    schedule, samples = FAMILIES["power_table"](), 4096
    law = ArrivalTimes(schedule)
    rank = law.sample(samples, torch.Generator().manual_seed(0)).argsort(-1).double() + 1
    error = law.expected_rank(samples) - schedule.law().expected_rank()
    assert (error.abs() < 4 * rank.std(0) / math.sqrt(samples)).all()
    assert law.mode().tolist() == schedule.law().mode().tolist()


def test_arrival_times_score_is_the_density_of_the_times():
    """Its mean is 0 in every parameter, and it is sorted by rank like the order."""
    schedule, n = FAMILIES["kumaraswamy"](), 4000
    u = torch.rand(n, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draw = schedule.law().draw(u)
    assert not draw.causal
    assert draw.order.shape == draw.score.shape == (n, LENGTH)
    tau = schedule.inverse(u).detach()
    assert (tau.gather(1, draw.order).diff(dim=-1) <= 0).all()
    log_density = (-schedule.alpha_prime(tau)).log()
    close(draw.score, log_density.gather(1, draw.order), rtol=1e-12)
    for module in (schedule.log_a, schedule.log_b):
        per_position = torch.autograd.functional.jvp(  # d log density_l / d parameter_l
            lambda v, m=module: (-_with(schedule, m, v).alpha_prime(tau)).log(),
            module.table.detach(),
            torch.ones(LENGTH, dtype=torch.float64),
        )[1]
        assert (per_position.mean(0).abs() < 4 * per_position.std(0) / math.sqrt(n)).all()


def _with(schedule, module, values):
    """A copy of a Kumaraswamy whose ``module`` gives ``values``."""
    other = [_Given(values) if m is module else m for m in (schedule.log_a, schedule.log_b)]
    return Kumaraswamy(LENGTH, other[0], other[1])


class _Given(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def forward(self):
        return self.values


# --- gradients ---


@pytest.mark.parametrize("family", LEARNED)
def test_gradients_are_those_of_finite_differences(family):
    schedule, t, h = FAMILIES[family](), column(0.05, 0.3, 0.8), 1e-6
    weight = torch.randn(3, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    functions = {
        "alpha": lambda: schedule.alpha(t),
        "alpha_prime": lambda: schedule.alpha_prime(t),
        "rate": lambda: schedule.rate(t),
        "log_masked": lambda: schedule.log_mask_prob(t)[0],
        "log_clean": lambda: schedule.log_mask_prob(t)[1],
    }
    for name, function in functions.items():
        for parameter in schedule.parameters():
            (gradient,) = torch.autograd.grad((weight * function()).sum(), parameter)
            for i in range(parameter.numel()):
                values = []
                for shift in (h, -h):
                    with torch.no_grad():
                        parameter[i] += shift
                        values.append((weight * function()).sum())
                        parameter[i] -= shift
                difference = ((values[0] - values[1]) / (2 * h)).item()
                assert math.isclose(gradient[i].item(), difference, rel_tol=1e-5, abs_tol=1e-7), (
                    name,
                    i,
                )


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("time", [1e-6, 0.5, 1 - 1e-9])
def test_power_is_finite_at_extreme_weights(sign, time):
    network = table([40.0 * sign, -40.0 * sign, 0.0])
    schedule, t = Power(3, network), column(time)
    log_masked, log_clean = schedule.log_mask_prob(t)
    score = torch.where(
        schedule.alpha(t) > 0.5, log_clean, log_masked
    )  # of the likelier outcome; the other's is -inf
    for value in (
        schedule.alpha(t),
        schedule.alpha_prime(t),
        schedule.rate(t),
        log_masked,
        log_clean,
        score,
    ):
        (gradient,) = torch.autograd.grad(value.sum(), network.table, retain_graph=True)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("log_a", "time"), [(1.0, 1e-6), (2.0, 1e-3), (3.5, 0.1)])
def test_kumaraswamy_keeps_its_accuracy_at_tiny_mask_probability(log_a, time):
    schedule, t = Kumaraswamy(1, table([log_a]), table([0.3])), column(time)
    a, b = (v.item() for v in schedule.shape())
    rate, log_masked, log_clean = decimal_kumaraswamy(a, b, time)
    assert math.isclose(schedule.rate(t).item(), rate, rel_tol=1e-6)
    assert math.isclose(schedule.log_mask_prob(t)[0].item(), log_masked, rel_tol=1e-6)
    assert math.isclose(schedule.log_mask_prob(t)[1].item(), log_clean, rel_tol=1e-6)
    (gradient,) = torch.autograd.grad(schedule.log_mask_prob(t)[0].sum(), schedule.log_a.table)
    assert torch.isfinite(gradient).all()


def test_kumaraswamy_scores_are_finite():
    schedule = Kumaraswamy(LENGTH, table([0.0] * LENGTH), table([-2.0] * LENGTH))
    u = torch.rand(
        5000, schedule.length, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert torch.isfinite(schedule.law().draw(u).score).all()


# --- schedule networks ---


def test_position_network_shares_parameters_between_positions():
    network = PositionNetwork(512, cosines=8)
    assert network.features.shape == (512, 9)
    assert [tuple(p.shape) for p in network.parameters()] == [(9,)]
    assert network().shape == (512,)
    assert "features" not in network.state_dict()


def test_position_features_have_mean_zero_and_unit_square():
    features = PositionNetwork(512, cosines=8, decay=0.0).features.double()
    close(features.mean(0), torch.zeros(9, dtype=torch.float64), atol=0.01)
    gram = features.T @ features / 512
    close(gram.diagonal(), torch.ones(9, dtype=torch.float64), atol=0.01)
    close(gram[1:, 1:], torch.eye(8, dtype=torch.float64), atol=0.01)
    # The ramp is no cosine's equal, but odd cosines lie along it: -4 sqrt(6) / (pi k)^2.
    expected = column(
        *(-4 * math.sqrt(6) / (math.pi * k) ** 2 if k % 2 else 0.0 for k in range(1, 9))
    )
    close(gram[0, 1:], expected, atol=0.01)


def test_position_features_decay():
    flat, smooth = (PositionNetwork(64, cosines=4, decay=d).features for d in (0.0, 1.0))
    close(smooth[:, 1:], flat[:, 1:] / torch.arange(1, 5), rtol=1e-6, atol=1e-7)


def test_position_network_starts_near_the_uniform_law():
    for seed in range(5):
        torch.manual_seed(seed)
        log_w = Power(10, PositionNetwork(10)).law().log_w
        assert 0 < log_w.abs().max() < 0.5
        assert PlackettLuce(log_w).entropy()[0] > 0.98 * math.lgamma(11)


def test_free_table_starts_uniform_or_drawn():
    assert (FreeTable(LENGTH)() == 0).all()
    law = Power(30, FreeTable(30, init_slope=0.7)).law()
    orders = torch.stack([torch.arange(30), torch.arange(30).flip(0)])
    first, last = law.step_log_prob(orders)[:, 0].exp()
    assert first.item() == pytest.approx(1 - math.exp(-0.7), rel=1e-5)
    assert last.item() == pytest.approx((1 - math.exp(-0.7)) * math.exp(-0.7 * 29), rel=1e-4)
    torch.manual_seed(0)
    assert abs(FreeTable(10000, init_std=0.5)().std() - 0.5) < 0.02


# --- arguments ---


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Linear(0), "length=0: must be a whole number from 1"),
        (lambda: Polynomial(3, 0.0), "power=0.0: must be a number above 0"),
        (lambda: Polynomial(3, float("nan")), "power=nan: must be a number above 0"),
        (lambda: Geometric(3, 2.0, 1.0), "sigma_min < sigma_max"),
        (lambda: Geometric(3, 0.0, 1.0), "sigma_min=0.0: must be a number above 0"),
        (lambda: Power(3, FreeTable(3), bound=0.0), "bound=0.0: must be a number above 0, or null"),
        (
            lambda: Kumaraswamy(3, FreeTable(3), FreeTable(3), bound=-1.0),
            "bound=-1.0: must be a number above 0",
        ),
        (lambda: Power(3, FreeTable(4)).log_w(), r"shape \(4,\) for length 3"),
        (
            lambda: GivenOrder(3, "up"),
            "order=up: must be left_to_right or right_to_left, or a list",
        ),
        (lambda: GivenOrder(3, [0, 0, 1]), "must be a permutation"),
        (lambda: GivenOrder(3, [0, 1]), "order names 2 positions, the length is 3"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- a new schedule needs one file ---


class Logistic(Schedule):
    """All that the author of a new schedule writes: alpha = 1 - t^w / (t^w + (1 - t)^w)."""

    def __init__(self, length):
        super().__init__(length)
        self.log_w = nn.Parameter(torch.linspace(-0.5, 0.5, length))

    def alpha(self, t):
        t, w = self.spread(t), self.log_w.double().exp()
        return 1.0 - t**w / (t**w + (1.0 - t) ** w)


def test_a_new_schedule_gets_derivative_rate_and_inverse():
    schedule, t = Logistic(LENGTH), times()
    alpha, w = schedule.alpha(t), schedule.log_w.double().exp()
    closed = -w * alpha * (1 - alpha) / (t * (1 - t))[:, None]
    close(schedule.alpha_prime(t), closed, rtol=1e-10)
    close(schedule.rate(t), w * alpha / (t * (1 - t))[:, None], rtol=1e-10)
    close(schedule.inverse(t), (t.logit()[:, None] / w).sigmoid(), atol=1e-10)
    close(
        schedule.log_mask_prob(t)[0].exp() + schedule.log_mask_prob(t)[1].exp(),
        torch.ones_like(alpha),
        atol=1e-14,
    )


def test_a_new_schedule_gets_an_order_law():
    schedule, n = Logistic(LENGTH), 500
    law = schedule.law()
    assert isinstance(law, ArrivalTimes)
    u = torch.rand(n, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    closed = (u.logit() / schedule.log_w.double().exp()).sigmoid().argsort(dim=-1, descending=True)
    draw = law.draw(u)
    assert torch.equal(draw.order, closed)
    assert abs(law.expected_rank().mean() - (LENGTH + 1) / 2) < 1e-9
    (gradient,) = torch.autograd.grad(draw.score.sum(), schedule.log_w)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "objective",
    [TimeSpace(draws=2), Dense(LENGTH, draws=2, baseline="rloo")],
    ids=["time", "dense"],
)
def test_a_new_schedule_trains(objective):
    torch.manual_seed(0)
    kind = BidirectionalTransformer if isinstance(objective, TimeSpace) else OrderCausalTransformer
    denoiser, schedule = kind(3, LENGTH, width=8, heads=2, layers=1), Logistic(LENGTH)
    out = objective(denoiser, schedule, torch.randint(3, (16, LENGTH)), StepRandom())
    out.loss.backward()
    assert out.nelbo.shape == (16,)
    assert torch.isfinite(out.nelbo).all()
    for parameter in (schedule.log_w, denoiser.head.weight):
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad != 0).all()
    before = schedule.alpha(times()).detach()
    torch.optim.SGD(schedule.parameters(), lr=0.1).step()
    assert not torch.equal(before, schedule.alpha(times()))


def test_a_new_schedule_has_a_rate_in_inference_mode():
    with torch.inference_mode():
        Logistic(LENGTH).rate(times())


def test_a_schedule_without_alpha_says_so():
    with pytest.raises(TypeError, match="Schedule must define alpha"):
        Schedule(2).alpha(times())


def test_sharp_law_survives_autocast():
    """Under bf16 autocast the law is the one that evaluation and sampling see without it."""
    torch.manual_seed(0)
    schedule = Power(64, PositionNetwork(64, init_std=5.0))
    plain = schedule.log_w()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(schedule.log_w(), plain)


def test_a_steep_alpha_alone_stays_finite():
    """Where alpha rounds to 1 the default rate and mask probability must not become NaN."""
    schedule = Logistic(LENGTH)
    with torch.no_grad():
        next(iter(schedule.parameters())).fill_(2.0)
    t = torch.tensor([1e-12, 1e-3, 0.5, 1 - 1e-9], dtype=torch.float64)
    parts = [schedule.rate(t), *schedule.log_mask_prob(t)]
    assert all(torch.isfinite(part).all() for part in parts)
    (gradient,) = torch.autograd.grad(
        sum(part.sum() for part in parts), next(iter(schedule.parameters()))
    )
    assert torch.isfinite(gradient).all()


def test_equal_kumaraswamy_positions_have_equal_expected_ranks():
    """At the sharpest b allowed arrival times do not pile up at 1, where ties would favour early
    positions.
    """
    schedule = Kumaraswamy(8, table([0.0] * 8), table([-100.0] * 8))
    n = 20_000
    rank = schedule.law().sample(n, torch.Generator().manual_seed(0)).argsort(-1).double() + 1
    assert ((rank.mean(0) - 4.5).abs() < 4 * rank.std(0) / n**0.5).all()
