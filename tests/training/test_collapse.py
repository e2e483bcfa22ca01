"""The collapse alarm: fires on a forced collapse, once and with the mend; is silent where a law
learns an order, however sharp.
"""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from enumeration import LENGTH, Additive
from tiny_runs import BARE, NAE, last, run, text_overrides

from ordo.data.module import Rows
from ordo.order import PlackettLuce
from ordo.schedules import FreeTable, Kumaraswamy, Linear, LogBound, PerContext, Power
from ordo.training import CollapseAlarm

REPORT = "report={split: val, weights: last, sequences: 8, draws: 1, importance_draws: 1, "
REPORT += (
    "exact_sequences: 4, orders: 0, samples: 0, page: false, metrics: {}, batch_size: 8, seed: 0}"
)
SOFT, SHARP = 0.0, 30.0


class Fake:
    """A training run that is told its law and its validation numbers."""

    def __init__(self, schedule, max_steps=1000):
        self.logged = {}
        rows = Rows(torch.zeros(20, schedule.length, dtype=torch.long))
        self.trainer = SimpleNamespace(
            global_step=0,
            max_steps=max_steps,
            sanity_checking=False,
            is_global_zero=True,
            callback_metrics={},
        )
        self.trainer.datamodule = SimpleNamespace(val_set=rows)
        self.module = SimpleNamespace(
            schedule=schedule,
            device="cpu",
            seed=0,
            log=lambda name, value, sync_dist: self.logged.update({name: value}),
        )

    def law(self, sharpness):
        with torch.no_grad():
            self.module.schedule.network.table.copy_(
                sharpness * torch.arange(self.module.schedule.length)
            )

    def validate(self, alarm, step, own, uniform):
        self.trainer.global_step = step
        self.trainer.callback_metrics = {
            "val/nelbo": torch.tensor(own),
            "val/nelbo_uniform": torch.tensor(uniform),
        }
        alarm.on_validation_epoch_end(self.trainer, self.module)
        alarm.on_validation_end(self.trainer, self.module)

    def step(self, alarm, step):
        self.trainer.global_step = step
        alarm.on_train_batch_end(self.trainer, self.module)


def test_a_sharp_law_that_costs_likelihood(capfd):
    alarm, fake = CollapseAlarm(), Fake(Power(8, FreeTable(8)))
    assert alarm.collapsed is None
    fake.validate(alarm, 100, 20.0, 19.0)
    fake.validate(alarm, 200, 15.0, 14.0)
    assert alarm.collapsed is False
    assert fake.logged["val/order_choices"] == pytest.approx(
        math.factorial(8) ** (1 / 8)
    )  # -log P is the same for every order
    fake.law(SHARP)
    fake.validate(alarm, 300, 14.5, 40.0)
    assert fake.logged["val/order_choices"] == pytest.approx(1.0, abs=1e-3)
    fake.validate(alarm, 400, 14.6, 40.0)
    assert alarm.collapsed is True, "uniform orders were better at step 200"
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1, "warned once"
    for word in (
        "collapsed",
        "step 300",
        "14.5",
        "14 had been",
        "optimizer.entropy_bonus",
        "optimizer.schedule_lr",
        "schedule.bound, schedule.floor",
    ):
        assert word in told[0], word
    again = CollapseAlarm()
    again.load_state_dict(alarm.state_dict())
    assert again.collapsed is True
    fake.validate(again, 500, 13.0, 50.0)
    assert again.collapsed is False, "it has recovered"
    assert capfd.readouterr().err == ""


def test_a_sharp_law_that_is_paid_for_it(capfd):
    alarm, fake = CollapseAlarm(), Fake(Power(8, FreeTable(8)))
    fake.validate(alarm, 100, 20.0, 20.0)
    fake.law(SHARP)
    for step, own in (
        (200, 12.0),
        (300, 11.0),
        (400, 11.5),
        (500, 20.5),
    ):  # in the end it has learned the training data by heart
        fake.validate(alarm, step, own, 60.0)
    assert alarm.collapsed is False
    alarm = CollapseAlarm()
    alarm.share, alarm.soft = 1.0, 20.0
    fake.validate(alarm, 200, 20.09, 60.0)
    assert alarm.collapsed is False, "within the margin"
    fake.validate(alarm, 300, 20.05, 60.0)
    assert alarm.collapsed is False
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("step", "collapsed"), [(25, True), (30, False), (50, False), (75, False)])
def test_early(step, collapsed, capfd):
    """At step 50 of 1000 it is no longer early; looks are taken every 25 steps. No later likelihood
    takes this verdict back.
    """
    alarm, fake = CollapseAlarm(), Fake(Power(8, FreeTable(8)))
    fake.law(SHARP)
    fake.step(alarm, step)
    fake.step(alarm, step)
    fake.validate(alarm, 500, 1.0, 2.0)
    assert alarm.collapsed is collapsed
    assert len(capfd.readouterr().err.splitlines()) == collapsed


@pytest.mark.parametrize(("slope", "verdict"), [(30.0, False), (0.0, True)])
def test_sharp_from_the_start(slope, verdict):
    """A law that was made sharp has not become so; one that was soft has. It is kept by a run that
    goes on.
    """
    alarm, fake = CollapseAlarm(), Fake(Power(8, FreeTable(8, init_slope=slope)))
    alarm.on_train_start(fake.trainer, fake.module)
    again = CollapseAlarm()
    again.load_state_dict(alarm.state_dict())
    fake.law(SHARP)
    fake.step(again, 25)
    assert again.collapsed is verdict


def test_given_and_absent_positions_are_no_choices():
    """Sharp where it decodes, though nothing is known of what it would do with the rest; and the
    other way round.
    """
    known = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]]).bool().expand(20, -1)
    for table, sharp in (
        ([0.0] * 4 + [30.0, 60.0, 90.0, 120.0], True),
        ([30.0, 60.0, 90.0, 120.0] + [0.0] * 4, False),
    ):
        fake = Fake(Power(8, FreeTable(8)))
        with torch.no_grad():
            fake.module.schedule.network.table.copy_(torch.tensor(table))
        for rows in (
            Rows(torch.zeros(20, 8), known),
            Rows(torch.zeros(20, 8), None, torch.full((20,), 4)),
        ):
            alarm, fake.trainer.datamodule.val_set = CollapseAlarm(), rows
            fake.validate(alarm, 100, 5.0, 4.0)
            there = sharp if rows.lengths is None else not sharp
            assert alarm.share == pytest.approx(0.0 if there else 1.0, abs=1e-3)
            assert fake.logged["val/order_choices"] == pytest.approx(
                1.0 if there else math.factorial(4) ** 0.25, rel=1e-3
            )


def test_a_law_that_depends_on_the_tokens():
    """The law's entropy is the mean given the sequence: sharp, though the orders of sequences
    differ.
    """
    tokens = torch.randint(3, (20, LENGTH), generator=torch.Generator().manual_seed(0))
    for std, sharp in ((0.01, False), (200.0, True)):
        torch.manual_seed(0)
        schedule = PerContext(LENGTH, Additive(LENGTH, std), Additive(LENGTH, std), LogBound())
        alarm, fake = CollapseAlarm(sharp=0.1), Fake(schedule)
        fake.trainer.datamodule.val_set = Rows(tokens)
        fake.validate(alarm, 100, 5.0, 4.0)
        want = (
            sum(PlackettLuce(row).entropy()[0].item() for row in schedule.log_w(tokens))
            / 20
            / math.log(math.factorial(LENGTH))
        )
        assert alarm.share == pytest.approx(want, abs=0.05)
        assert (alarm.share < 0.1) == sharp


def test_where_there_is_nothing_to_see():
    for schedule in (Linear(4), Kumaraswamy(4, FreeTable(4), FreeTable(4))):
        alarm, fake = CollapseAlarm(), Fake(schedule)
        fake.step(alarm, 25)
        fake.validate(alarm, 100, 5.0, 4.0)
        assert alarm.collapsed is None
        assert fake.logged == {}
    for options in ({"sharp": 0.0}, {"early": 2.0}, {"every": 0}):
        with pytest.raises(ValueError, match="must be"):
            CollapseAlarm(**options)


def test_a_forced_collapse_in_a_run(tmp_path, capfd):
    """Adam pulls one half of the positions before the other: 55% of the entropy is left."""
    plan = [
        *NAE,
        "schedule=power_table",
        "steps=40",
        "validate_every=20",
        "optimizer.schedule_delay=0",
        "optimizer.schedule_lr=1.0",
    ]
    plan += [
        "objective._target_=tiny_runs.Pulls",
        "+objective.strength=1.0",
        "optimizer.schedule_clip=null",
        *BARE,
    ]
    plan += [
        "callbacks.collapse.sharp=0.6",
        "callbacks.collapse.early=0.5",
        "callbacks.collapse.every=5",
    ]
    run(tmp_path / "run", *plan, REPORT)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["collapsed"] is True
    told = [line for line in capfd.readouterr().err.splitlines() if "collapsed" in line]
    assert len(told) == 1
    assert "at step 5 of 40" in told[0]
    state = last(tmp_path / "run")["callbacks"]["CollapseAlarm"]
    assert (state["too_early"], state["warned"]) == (True, True)


def test_a_healthy_run_that_ends_sharp(tmp_path, capfd):
    """A text whose order is found within a few hundred steps."""
    plan = [
        *text_overrides(tmp_path),
        "schedule=power_network",
        "objective=dense",
        "steps=300",
        "validate_every=60",
        "denoiser.width=32",
    ]
    plan += ["optimizer.schedule_delay=60", "optimizer.schedule_lr=1.0", "optimizer.lr=5e-3"]
    result = run(tmp_path / "run", *plan, REPORT)
    law = result.module.schedule.law()
    assert law.entropy()[0] < 0.05 * math.log(math.factorial(8)), "sharp"
    assert json.loads((tmp_path / "run" / "report.json").read_text())["collapsed"] is False
    assert "collapsed" not in capfd.readouterr().err
    run(tmp_path / "fixed", *plan, "schedule=linear", "steps=10", "validate_every=5", REPORT)
    assert json.loads((tmp_path / "fixed" / "report.json").read_text())["collapsed"] is None
