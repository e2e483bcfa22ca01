"""What is to happen only after the last step of a run, such as the learning of the order: the run
says so.
"""

import pytest
from tiny_runs import NAE, configuration

from ordo.runs.build import build_data, build_module
from ordo.runs.run import never_learned, never_warm


@pytest.mark.parametrize(
    ("schedule", "steps", "delay", "told"),
    [
        ("power_table", 9, 9, True),
        ("power_table", 10, 9, False),
        ("power_table", 9, 0, False),
        ("linear", 9, 9, False),  # nothing to learn
    ],
)
def test_a_delay_longer_than_the_run(schedule, steps, delay, told, tmp_path):
    settings = [f"schedule={schedule}", "objective=order", f"steps={steps}"]
    config = configuration(tmp_path, *NAE, *settings, f"optimizer.schedule_delay={delay}")
    build_data(config)
    lines = never_learned(config, build_module(config))
    assert [line.partition(":")[0] for line in lines] == (
        [f"optimizer.schedule_delay={delay} of {steps} steps"] if told else []
    )


@pytest.mark.parametrize(("steps", "warmup", "told"), [(9, 10, True), (10, 10, False)])
def test_a_warm_up_longer_than_the_run(steps, warmup, told, tmp_path):
    config = configuration(tmp_path, f"steps={steps}", f"optimizer.warmup_steps={warmup}")
    lines = never_warm(config)
    assert [line.partition(":")[0] for line in lines] == (
        [f"optimizer.warmup_steps={warmup} of {steps} steps"] if told else []
    )
