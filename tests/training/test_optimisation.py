"""Rates by step, the delay of the order law, separate clipping, the entropy bonus, compilation and
bfloat16.
"""

import csv
import math

import pytest
import torch
from tiny_runs import BARE, NAE, configuration, last, run

from ordo.denoisers import OrderCausalTransformer
from ordo.objectives import Dense
from ordo.runs.build import build_data, build_module
from ordo.schedules import (
    FreeTable,
    LogBound,
    PerContext,
    PooledNetwork,
    Power,
    TokenNetwork,
)
from ordo.training import OptimizerSettings, OrderDiffusion
from ordo.training.optimisation import (
    build_optimizer,
    clip_gradients,
    gradient_norms,
    learning_rates,
)


def test_factors():
    s = OptimizerSettings(
        total_steps=100,
        warmup_steps=10,
        final_lr=0.1,
        schedule_delay=20,
        schedule_ramp=5,
        schedule_final=0.5,
    )
    assert s.denoiser_factor(0) == pytest.approx(0.1), "a tenth of the warm-up"
    assert s.denoiser_factor(4) == pytest.approx(
        0.5 * (0.1 + 0.9 * 0.5 * (1 + math.cos(0.04 * math.pi)))
    )
    assert s.denoiser_factor(50) == pytest.approx(0.1 + 0.9 / 2)
    assert s.denoiser_factor(100) == s.denoiser_factor(250) == pytest.approx(0.1)
    assert [s.schedule_factor(step) for step in (0, 10, 19)] == [0.0, 0.0, 0.0]
    cosine = [0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(101)]
    assert s.schedule_factor(20) == pytest.approx(0.2 * (0.5 + 0.5 * cosine[20]))
    assert s.schedule_factor(22) == pytest.approx(0.6 * (0.5 + 0.5 * cosine[22]))
    assert s.schedule_factor(50) == pytest.approx(0.75)
    assert s.schedule_factor(100) == pytest.approx(0.5)
    plain = OptimizerSettings(total_steps=100, schedule_delay=3)
    assert [plain.schedule_factor(step) for step in (2, 3, 99)] == [0.0, 1.0, 1.0]


def test_entropy_weight():
    s = OptimizerSettings(total_steps=100, entropy_bonus=0.4, entropy_steps=50)
    assert [s.entropy_weight(step) for step in (0, 25, 50, 99)] == pytest.approx(
        [0.4, 0.2, 0.0, 0.0]
    )
    assert OptimizerSettings(total_steps=1).entropy_weight(0) == 0.0


def test_groups():
    """Decay on matrices alone; the schedule in a group of its own with its own rate and betas."""
    denoiser, schedule = (
        OrderCausalTransformer(3, 4, width=8, heads=2, layers=1),
        Power(4, FreeTable(4)),
    )
    s = OptimizerSettings(
        total_steps=10,
        lr=0.3,
        weight_decay=0.7,
        schedule_lr=0.2,
        schedule_betas=(0.5, 0.6),
        schedule_delay=0,
    )
    optimizer, _ = build_optimizer(denoiser, schedule, s)
    decayed, plain, order = optimizer.param_groups
    names = {id(parameter): name for name, parameter in denoiser.named_parameters()}
    wanted = {f"blocks.0.{part}.weight" for part in ("qkv", "out", "up", "down")} | {"head.weight"}
    assert {names[id(p)] for p in decayed["params"]} == wanted
    assert {names[id(p)] for p in plain["params"]} == set(names.values()) - wanted
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.7, 0.0, 0.0]
    assert order["params"] == [schedule.network.table]
    assert (order["initial_lr"], order["betas"]) == (0.2, (0.5, 0.6))


def with_base(base: FreeTable | None) -> PerContext:
    networks = TokenNetwork(3, 4, width=8), PooledNetwork(3, 4, width=8)
    return PerContext(4, *networks, LogBound(), base=base)


def test_a_base_has_a_rate_and_a_clip_of_its_own():
    """A step of AdamW moves every number by the rate of its group; a base with a huge gradient
    leaves the networks' direction as it is.
    """
    denoiser, schedule = (
        OrderCausalTransformer(3, 4, width=8, heads=2, layers=1),
        with_base(FreeTable(4)),
    )
    s = OptimizerSettings(
        total_steps=10, schedule_lr=0.01, base_lr=0.5, schedule_delay=0, schedule_clip=2.0
    )
    optimizer, _ = build_optimizer(denoiser, schedule, s)
    *_, networks, base = optimizer.param_groups
    rates = {"denoiser": s.lr * s.denoiser_factor(0), "schedule": 0.01, "base": 0.5}
    assert learning_rates(optimizer, schedule) == pytest.approx(rates)
    assert isinstance(schedule.base, FreeTable)
    assert base["params"] == [schedule.base.table]
    assert {id(p) for p in networks["params"]} == {
        id(p) for n, p in schedule.named_parameters() if n != "base.table"
    }
    for small in (1e-3, 1.0):  # within the limit, and beyond it
        schedule.base.table.grad = torch.tensor([3e6, 0, 0, -4e6])
        for p in networks["params"]:
            p.grad = torch.full_like(p, small)
        norm = small * sum(p.numel() for p in networks["params"]) ** 0.5
        found = {name: float(x) for name, x in gradient_norms(denoiser, schedule).items()}
        assert found == pytest.approx({"schedule": norm, "base": 5e6})
        clip_gradients(denoiser, schedule, s)
        assert torch.allclose(schedule.base.table.grad, torch.tensor([1.2, 0, 0, -1.6]))
        for p in networks["params"]:
            assert torch.allclose(p.grad, torch.full_like(p, small * min(1.0, 2.0 / norm)))
    watched = [schedule.base.table, networks["params"][0]]
    before = [p.detach().clone() for p in watched]
    optimizer.step()
    moved = [(p - q).abs().max().item() for p, q in zip(watched, before, strict=True)]
    assert moved == pytest.approx([0.5, 0.01], rel=1e-3)


def test_the_rate_of_a_base():
    """Not given it is that of the schedule; given without a base it would do nothing."""
    denoiser = OrderCausalTransformer(3, 4, width=8, heads=2, layers=1)
    optimizer, _ = build_optimizer(
        denoiser, with_base(FreeTable(4)), OptimizerSettings(total_steps=10, schedule_lr=0.01)
    )
    assert [g["initial_lr"] for g in optimizer.param_groups[2:]] == [0.01, 0.01]
    for schedule in (
        with_base(None),
        Power(4, FreeTable(4)),
        with_base(FreeTable(4).requires_grad_(False)),
    ):
        with pytest.raises(ValueError, match=r"optimizer\.base_lr is the rate of schedule\.base"):
            OrderDiffusion(
                denoiser, schedule, Dense(4), OptimizerSettings(total_steps=10, base_lr=0.5)
            )
    with pytest.raises(ValueError, match=r"base_lr=0\.0: must be a number above 0, or null"):
        OptimizerSettings(total_steps=10, base_lr=0.0)


def test_the_order_law_waits(tmp_path):
    """Its numbers do not change by a bit during the delay, and change in the step after it; the
    denoiser learns from the first.
    """
    plan = [
        *NAE,
        "schedule=power_table",
        "schedule.network.init_std=0.5",
        "optimizer.schedule_delay=4",
        "validate_every=99",
    ]
    config = configuration(tmp_path, *plan)
    build_data(config)
    start = build_module(config).state_dict()
    run(tmp_path / "4", *plan, "steps=4")
    run(tmp_path / "5", *plan, "steps=5")
    during, after = (last(tmp_path / steps)["state_dict"] for steps in ("4", "5"))
    assert torch.equal(start["schedule.network.table"], during["schedule.network.table"])
    assert not torch.equal(start["schedule.network.table"], after["schedule.network.table"])
    assert not torch.equal(start["denoiser.head.weight"], during["denoiser.head.weight"])


def test_clipping_is_separate():
    denoiser, schedule = (
        OrderCausalTransformer(3, 4, width=8, heads=2, layers=1),
        Power(4, FreeTable(4)),
    )
    module = OrderDiffusion(
        denoiser, schedule, Dense(4), OptimizerSettings(total_steps=1, clip=0.5, schedule_clip=2.0)
    )
    for denoiser_size, schedule_size in ((1e-3, 1e6), (1e6, 1e-3)):
        for parameter in denoiser.parameters():
            parameter.grad = torch.full_like(parameter, denoiser_size)
        schedule.network.table.grad = torch.tensor([3.0, 0, 0, -4.0]) * schedule_size
        module.configure_gradient_clipping(None)
        norm = torch.stack([p.grad.norm() for p in denoiser.parameters()]).norm()
        if denoiser_size < 1:
            assert all(
                torch.equal(p.grad, torch.full_like(p, denoiser_size))
                for p in denoiser.parameters()
            ), "not a bit"
            assert torch.allclose(
                schedule.network.table.grad, torch.tensor([1.2, 0, 0, -1.6]), atol=1e-4
            )
        else:
            assert torch.equal(
                schedule.network.table.grad, torch.tensor([3.0, 0, 0, -4.0]) * schedule_size
            )
            assert norm.item() == pytest.approx(0.5, rel=1e-4)


def test_entropy_bonus_keeps_orders_random(tmp_path):
    plan = [
        *NAE,
        "schedule=power_table",
        "steps=40",
        "validate_every=99",
        "optimizer.schedule_delay=0",
        "optimizer.schedule_lr=0.1",
    ]
    plan += [
        "objective._target_=tiny_runs.Pulls",
        "+objective.strength=1.0",
        "optimizer.schedule_clip=null",
    ]
    plan += BARE
    entropy = {}
    for bonus in (0.0, 3.0):
        result = run(
            tmp_path / str(bonus),
            *plan,
            f"optimizer.entropy_bonus={bonus}",
            "optimizer.entropy_steps=100000",
        )
        entropy[bonus] = result.module.schedule.law().entropy()[0].item()
    uniform = math.log(math.factorial(6))
    assert entropy[0.0] == pytest.approx(math.log(36), abs=0.1), (
        "Adam pulls one half of the positions before the other"
    )
    assert entropy[3.0] > 0.85 * uniform, "with it the law stays broad"


@pytest.mark.slow  # half a minute of compilation
@pytest.mark.parametrize("objective", ["dense", "order"])
def test_a_compiled_step_and_one_in_bf16(objective, tmp_path):
    """The losses of a plain run: to rounding where it is compiled, to a percent with bfloat16
    inside.
    """
    plan = [
        *NAE,
        f"objective={objective}",
        "schedule=power_table",
        "optimizer.schedule_delay=1",
        "steps=4",
        "trainer.log_every_n_steps=1",
    ]
    plan += ["validate_every=4", *(["denoiser=bidirectional"] * (objective == "order"))]
    losses = []
    for name, change in (
        ("plain", "compile=false"),
        ("compiled", "compile=true"),
        ("half", "trainer.precision=bf16-mixed"),
    ):
        run(tmp_path / name, *plan, change)
        with open(tmp_path / name / "csv" / "metrics.csv") as file:
            losses.append(
                [
                    float(row["train/bits_per_token"])
                    for row in csv.DictReader(file)
                    if row["train/bits_per_token"]
                ]
            )
    plain, compiled, half = losses
    assert len(plain) == 4
    assert compiled == pytest.approx(plain, rel=1e-4)
    assert half == pytest.approx(plain, rel=1e-2)
    assert half != plain
