"""Runs of train.py in miniature, in this process or in a child that may be killed."""

import functools
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra

from ordo import commands
from ordo.objectives import Dense
from ordo.runs.run import train

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = str(ROOT / "src" / "ordo" / "configs")
LETTERS = (
    "the quick brown fox jumps over the lazy dog and then sleeps under a tree while rain falls "
    * 25
)

SMALL = [
    "denoiser.width=16",
    "denoiser.heads=2",
    "denoiser.layers=1",
    "data.batch_size=8",
    "data.eval_batch_size=8",
]
QUIET = [
    "threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "callbacks.samples=null",
]
QUIET += ["report=null", "compare=null"]
NAE = ["data=nae", "data.task.n_latents=3", "data.task.n_observations=3", "data.eval_size=16"]


@functools.cache
def composed(*overrides):
    """What Hydra composes, which takes a third of the time of a tiny run."""
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train", [*overrides])


def configuration(output, *overrides, experiment="custom", small=SMALL):
    """What ``ordo train experiment=... overrides`` would compose."""
    named = [f"experiment={experiment}", f"name={experiment}", "output=OUTPUT", *small, *QUIET]
    later = [each for each in overrides if each.startswith(LATER)]
    config = composed(*named, *(each for each in overrides if each not in later)).copy()
    config.merge_with_dotlist([f"output={output}", *later])
    return config


LATER = ("output=", "resume=", "overwrite=", "seed=", "steps=")  # plain values, put in afterwards


def text_overrides(folder):
    """A small text of 18 symbols in a file of its own: 14 batches of 16 sequences of 8 characters
    are an epoch.
    """
    path = Path(folder) / "letters"
    path.write_text(LETTERS)
    return [
        "data=file",
        f"data.path={path}",
        "data.length=8",
        "data.batch_size=16",
        "data.limit_eval=16",
    ]


def run(output, *overrides, **kwargs):
    """Trains in this process."""
    return train(configuration(output, *overrides, **kwargs))


def last(output):
    return torch.load(Path(output) / "checkpoints" / "last.ckpt", weights_only=True)


class KillAt(L.Callback):
    """A signal to the own process, kill -9 or ``number``, before its ``batch``-th micro-batch."""

    def __init__(self, batch, number=signal.SIGKILL):
        self.batch, self.number, self.seen = batch, number, 0

    def on_train_batch_start(self, trainer, pl_module, *_):
        if self.seen == self.batch:
            os.kill(os.getpid(), self.number)
        self.seen += 1


def kill_at(batch, number=signal.SIGKILL):
    """Settings of the command line that add ``KillAt``."""
    return [
        "+callbacks.kill._target_=tiny_runs.KillAt",
        f"+callbacks.kill.batch={batch}",
        f"+callbacks.kill.number={int(number)}",
    ]


def run_and_kill(output, batch, *overrides):
    """The same in a forked child that is killed before its ``batch``-th micro-batch; returns the
    signal that ended the child.
    """
    child = os.fork()
    if child == 0:
        try:
            run(output, *overrides, *kill_at(batch))
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def call(script, *arguments, monkeypatch, capfd):
    """``python SCRIPT arguments``, or of ``ordo NAME`` the command NAME, in this process: (exit
    status, standard output and error).
    """
    words = script.split()
    monkeypatch.setattr(sys, "argv", [*words, *map(str, arguments)])
    # Hydra composes once more to learn whether a YAML asks for a sweep, which none does.
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    capfd.readouterr()
    status = 0
    try:
        if words[0] == "ordo":
            commands.main()
        else:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    out, err = capfd.readouterr()
    return status, out, err


# For the objectives below, which take no settings of the dense one.
BARE = [f"~objective.{name}" for name in ("draws", "baseline", "unigram", "bound")]


class Breaks(Dense):
    """The dense objective, whose loss or gradient of ``part`` is NaN at training step ``step``."""

    def __init__(self, length, step, part, vocab_size=None):
        super().__init__(length)
        self.step, self.part = step, part

    def forward(self, denoiser, schedule, tokens, random):
        out = super().forward(denoiser, schedule, tokens, random)
        if self.training and random.step == self.step:
            if self.part == "loss":
                out.loss = out.loss * float("nan")
            else:  # the gradient of a root at zero: the loss itself stays finite
                parameters = (denoiser if self.part == "denoiser" else schedule).parameters()
                out.loss = out.loss + sum((0 * p).abs().sqrt().sum() for p in parameters)
        return out


class Pulls(Dense):
    """A task with nothing to learn but a pull of log w towards one order, as in a collapse."""

    def __init__(self, length, strength, vocab_size=None):
        super().__init__(length)
        self.strength = strength

    def forward(self, denoiser, schedule, tokens, random):
        out = super().forward(denoiser, schedule, tokens, random)
        log_w = schedule.log_w()
        out.loss = 0 * out.loss - self.strength * (log_w * torch.linspace(-1, 1, len(log_w))).mean()
        return out
