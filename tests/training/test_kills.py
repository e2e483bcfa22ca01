"""kill -9 inside validations, pictures, writes and reports: the run that goes on ends with the
files of one that was left alone.
"""

import json
import os
import signal
import sys
import traceback

import numpy as np
import pytest
import tiny_runs
import torch
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from test_resume import same
from tiny_runs import NAE

from ordo import files, plots
from ordo.runs import checksum, evaluation, resume, run
from ordo.training import callbacks, last
from ordo.training.module import OrderDiffusion

PLAN = [*NAE, "data.batches_per_epoch=7", "steps=10", "validate_every=4", "checkpoint_every=3"]
PLAN += ["trainer.log_every_n_steps=1", "callbacks.order.every=2", "callbacks.gradient.every=2"]
PLAN += ["optimizer.schedule_delay=1", "optimizer.schedule_lr=1"]
PLAN += ["callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 2}"]
REPORT = "report={split: val, weights: best, sequences: 8, draws: 1, importance_draws: 1, "
REPORT += "exact_sequences: 4, batch_size: 8, seed: 0, orders: 0, samples: 2, page: true}"
PLAN += [REPORT]
VARIANTS = {
    "plain": PLAN,
    "average": [*PLAN, "callbacks=ema", "callbacks.ema.decay=0.5"],
    # The best weights are those of the first validation, and the last step is validated.
    "early best": [*PLAN, "steps=12", "optimizer.lr=0.5", "optimizer.warmup_steps=0"],
    "accumulation": [*PLAN, "trainer.accumulate_grad_batches=2", "data.batches_per_epoch=11"],
    "only one validation": [*PLAN, "validate_every=10", "checkpoint_every=10"],
}


def cheap(figure, path):
    """As plots.save, of a picture that takes no time to draw."""
    files.write_whole(path, lambda partial: partial.write_text(str(figure.get_size_inches())))


@pytest.fixture(autouse=True)
def cheap_pictures(monkeypatch):
    monkeypatch.setattr(plots, "save", cheap)
    monkeypatch.setattr(
        evaluation, "run_page", lambda record, **_: (f"<html>{record.report['split']}</html>", [])
    )


# Where the kill lands: an object, a function of it, and whether at its beginning or at its end.
PLACES = {
    "in a validation": (OrderDiffusion, "validation_step", "begin"),
    "at a picture": (callbacks, "log_picture", "begin"),
    "after a picture": (callbacks, "log_picture", "end"),
    "between samples and their log": (callbacks, "log_samples", "begin"),
    "while a checkpoint is written": (checksum, "save", "begin"),
    "before a file is renamed": (os, "replace", "begin"),
    "after a best checkpoint": (ModelCheckpoint, "_save_checkpoint", "end"),
    "after a last checkpoint": (last, "write_last", "end"),
    "while metrics.csv has no header": (_ExperimentWriter, "_rewrite_with_new_header", "begin"),
    "after metrics were logged": (_ExperimentWriter, "save", "end"),
    "in the report": (run, "examine", "begin"),
    "after the report's likelihoods": (run, "save_evaluation", "begin"),
    "before the report's page": (run, "save_report_page", "begin"),
    "after everything": (run, "save_report_page", "end"),
    "while a run is taken over": (resume.shutil, "copyfile", "end"),
}


def kill_at(place, k, *overrides, output):
    """A run in a fork that kills itself at the k-th time it comes to ``place``; whether it did."""
    child = os.fork()
    if child == 0:
        try:
            holder, name, when = PLACES[place]
            whole, seen = getattr(holder, name), 0

            def counted(*args, **kwargs):
                nonlocal seen
                seen += 1
                if when == "begin" and seen == k:
                    if name == "_rewrite_with_new_header":
                        open(args[0].metrics_file_path, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)
                result = whole(*args, **kwargs)
                if when == "end" and seen == k:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            setattr(holder, name, counted)
            tiny_runs.run(output, *overrides)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


TIMES = ("fit_seconds", "seconds")  # of report.json: differ from run to run
WHERE = ("output", "resume", "overwrite")


def content(path):
    """What a file of a run says, without times of day and names of folders."""
    if path.suffix == ".ckpt":
        checkpoint = torch.load(path, weights_only=True)
        # Lightning's counters of batches may differ between checkpoints, and names of folders do.
        kept = ("global_step", "epoch", "state_dict", "current_model_state", "optimizer_states")
        return {key: checkpoint[key] for key in kept if key in checkpoint} | {
            "rows": checkpoint["run"]
        }
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    if path.name in ("report.json", "provenance.json"):
        told = json.loads(path.read_text())
        return {k: v for k, v in told.items() if k not in (*TIMES, "command")}
    if path.suffix == ".yaml":
        told = OmegaConf.to_container(OmegaConf.load(path))
        told = json.dumps({k: v for k, v in told.items() if k not in WHERE}) if told else ""
        return told.replace(str(path.parent), "")
    return path.read_text()


def same_files(one, other):
    names = [
        sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (one, other)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        a, b = content(one / name), content(other / name)
        same(float_free(a), float_free(b), name)
    return len(names[0])


def float_free(value):
    """NaN equals itself."""
    if isinstance(value, torch.Tensor):
        return value.nan_to_num(12345.0) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: float_free(x) for key, x in value.items()}
    if isinstance(value, list):
        return [float_free(x) for x in value]
    return "nan" if value != value else value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every variant has a run that was left alone, in a folder of its own."""
    made = {}

    def of(variant):
        if variant not in made:
            made[variant] = tmp_path_factory.mktemp("whole") / "run"
            tiny_runs.run(made[variant], *VARIANTS[variant])
        return made[variant]

    return of


def go_on(folder, how, overrides):
    """Resumes into the same folder, a renamed one or a new one; returns where the run has ended."""
    if how == "same":
        target = source = folder
    elif how == "renamed":
        target = source = folder.with_name("renamed")
        folder.rename(source)
    else:
        source, target = folder, folder.with_name("new")
    tiny_runs.run(target, *overrides, f"resume={source}")
    return target


FEW = [
    ("plain", "in a validation", 4, "new"),
    pytest.param("average", "at a picture", 4, "renamed", marks=pytest.mark.slow),
    ("only one validation", "in a validation", 1, "same"),
]


@pytest.mark.parametrize(("variant", "place", "k", "how"), FEW)
def test_a_kill(variant, place, k, how, whole, tmp_path):
    overrides = VARIANTS[variant]
    assert kill_at(place, k, *overrides, output=tmp_path / "run")
    same_files(whole(variant), go_on(tmp_path / "run", how, overrides))


MORE = [
    ("plain", "in a validation", 1, "same"),
    ("plain", "in a validation", 4, "renamed"),
    ("early best", "in a validation", 6, "new"),
    ("early best", "in a validation", 5, "renamed"),
    ("early best", "at a picture", 9, "same"),
    ("early best", "in the report", 1, "new"),
    ("early best", "after a last checkpoint", 7, "renamed"),
    ("average", "in a validation", 3, "new"),
    ("average", "after a best checkpoint", 2, "same"),
    ("average", "after everything", 1, "renamed"),
    ("accumulation", "in a validation", 4, "same"),
    ("accumulation", "after a best checkpoint", 1, "new"),
    ("accumulation", "between samples and their log", 2, "renamed"),
    ("plain", "at a picture", 6, "new"),
    ("plain", "after a picture", 1, "renamed"),
    ("plain", "while a checkpoint is written", 2, "same"),
    ("plain", "before a file is renamed", 6, "same"),
    ("plain", "while metrics.csv has no header", 2, "new"),
    ("plain", "after metrics were logged", 9, "same"),
    ("plain", "after the report's likelihoods", 1, "same"),
    ("plain", "before the report's page", 1, "renamed"),
    ("only one validation", "at a picture", 3, "new"),
    ("only one validation", "in the report", 1, "same"),
]


@pytest.mark.slow  # a minute and a half
@pytest.mark.parametrize(("variant", "place", "k", "how"), MORE)
def test_more_kills(variant, place, k, how, whole, tmp_path):
    test_a_kill(variant, place, k, how, whole, tmp_path)
