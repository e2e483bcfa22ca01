"""Progress of long work: lines with the time left, a bar on a terminal, nothing if silenced."""

import io
import re

import pytest
import torch
from rich.console import Console

from ordo import progress
from ordo.denoisers import BidirectionalTransformer
from ordo.samplers import Sampler, sample_batches


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_line_every_half_minute_with_the_time_left(clock, capfd):
    for _ in progress.track(range(20), "work"):
        clock.now += 10.0
    lines = capfd.readouterr().err.splitlines()
    # At 30 s 3 of 20 are done: 17 to go, 10 s each.
    left = {15: "2:50", 30: "2:20", 45: "1:50", 60: "1:20", 75: "0:50", 90: "0:20"}
    assert lines == [f"work: {share}%, {time} left" for share, time in left.items()]


def test_short_work_and_silenced_work_say_nothing(clock, capfd):
    assert list(progress.track(iter("abc"), "short")) == ["a", "b", "c"]
    before = progress.show(False)
    try:
        for _ in progress.track(range(20), "work"):
            clock.now += 10.0
        progress.note("a line")
    finally:
        progress.show(before)
    assert capfd.readouterr().err == ""
    progress.note("a line")
    assert capfd.readouterr().err == "a line\n"


def test_clock():
    assert [progress.clock(s) for s in (7.4, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


def test_a_bar_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress,
        "Console",
        lambda stderr: Console(file=screen, force_terminal=True, width=80, color_system=None),
    )
    for _ in progress.track(range(4), "work"):
        pass
    shown = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip()
        for line in re.split(r"[\r\n]", screen.getvalue())
    ]
    assert any(re.fullmatch(r"work ━+ +100% 0:00:00", line) for line in shown), shown


def test_sampling_is_followed_step_by_step():
    """4 positions, one a step, in 2 batches of which the second is as long: eighths."""
    net = BidirectionalTransformer(vocab_size=3, length=4, width=8, heads=2, layers=1)
    shares = []

    class Watch(progress.SamplingMeter):
        def update(self, share):
            super().update(share)
            shares.append(self.share)

    with Watch("sampling") as meter:
        trace = sample_batches(net, Sampler(), 6, 3, meter.batches, on_step=meter.step)
    assert shares == pytest.approx([i / 8 for i in range(1, 9)])
    assert torch.equal(trace.tokens, sample_batches(net, Sampler(), 6, 3).tokens)
