"""The loop without Lightning takes the steps of Lightning's Trainer."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from ordo.data import NotAllEqual
from ordo.denoisers import OrderCausalTransformer
from ordo.objectives import Dense
from ordo.schedules import FreeTable, Kumaraswamy, Power
from ordo.training import OptimizerSettings, OrderDiffusion, TrainingDiverged, train_steps

TASK = NotAllEqual(3, 3)
BATCHES = TASK.sample(24, torch.Generator().manual_seed(0)).split(
    8
)  # three: a run of seven steps goes through them more than twice
SETTINGS = OptimizerSettings(
    total_steps=7,
    warmup_steps=2,
    schedule_delay=2,
    clip=0.1,
    schedule_clip=0.01,
    entropy_bonus=0.3,
    entropy_steps=6,
)


def parts():
    torch.manual_seed(0)
    denoiser = OrderCausalTransformer(2, TASK.length, width=16, heads=2, layers=1)
    return (
        denoiser,
        Power(TASK.length, FreeTable(TASK.length)),
        Dense(TASK.length, draws=2, baseline="rloo"),
    )


def test_same_weights_as_with_lightning():
    denoiser, schedule, objective = parts()
    steps = [
        step for step, _ in train_steps(denoiser, schedule, objective, BATCHES, SETTINGS, seed=5)
    ]
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    module = OrderDiffusion(*parts(), SETTINGS, seed=5)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_steps=7, accelerator="cpu", devices=1, **quiet)
    trainer.fit(module, DataLoader(BATCHES, batch_size=None))
    for mine, theirs in (
        (denoiser, module.denoiser),
        (schedule, module.schedule),
        (objective, module.objective),
    ):
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], rtol=0, atol=0, msg=name)
    assert schedule.log_w().abs().max() > 0.1  # the law has moved


def test_batches_that_run_out_are_an_error():
    with pytest.raises(ValueError, match="no batches after step 3"):
        list(train_steps(*parts(), iter(BATCHES), SETTINGS))


def test_a_loss_that_is_not_finite_is_an_error():
    denoiser, schedule, objective = parts()
    with torch.no_grad():
        denoiser.head.weight.fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="step 0"):
        next(train_steps(denoiser, schedule, objective, BATCHES, SETTINGS))


def test_steps_that_nobody_takes_are_not_silent(capsys):
    """A call alone trains nothing, and says so; one that is iterated, or run, says nothing."""
    denoiser, schedule, objective = parts()
    before = denoiser.head.weight.clone()
    train_steps(denoiser, schedule, objective, BATCHES, SETTINGS)
    assert "nothing was trained" in capsys.readouterr().err
    assert torch.equal(denoiser.head.weight, before)
    *_, (steps, last) = train_steps(*parts(), BATCHES, SETTINGS, seed=5)
    out = train_steps(denoiser, schedule, objective, BATCHES, SETTINGS, seed=5).run()
    assert steps == 7
    assert torch.equal(out.nelbo, last.nelbo)
    assert not torch.equal(denoiser.head.weight, before)
    assert capsys.readouterr().err == ""
    law = Kumaraswamy(TASK.length, FreeTable(TASK.length), FreeTable(TASK.length))
    with pytest.raises(ValueError, match="entropy_bonus needs an order law in closed form"):
        train_steps(denoiser, law, objective, BATCHES, SETTINGS)
