"""Manners of the command line: suggestions, exit codes, Ctrl-C, quiet mode, help, names of runs."""

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lightning as L
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from tiny_runs import CONFIGS, NAE, QUIET, ROOT, SMALL, call, configuration, kill_at, last

from ordo.interrupt import Stopped, StopSignals
from ordo.runs import checksum, names
from ordo.runs.checkpoint import WholeFiles
from ordo.runs.explain import closest
from ordo.runs.names import label, own_folder
from ordo.runs.parser import Parser
from ordo.runs.run import stopped_at, train

SCRIPTS = [
    "scripts/benchmark.py",
    "ordo collect",
    "ordo search",
    "scripts/reproduce_paper.py",
]
REPORT = [
    "report.sequences=8",
    "report.draws=1",
    "report.importance_draws=1",
    "report.exact_sequences=4",
]
PLAN = [
    "experiment=custom",
    *SMALL,
    *(x for x in QUIET if x not in ("report=null", "trainer.enable_progress_bar=false")),
    *NAE,
    *REPORT,
]
PLAN += ["steps=4", "validate_every=2", "optimizer.schedule_delay=1"]


@pytest.fixture
def script(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)

    def of(name, *arguments):
        return call(name, *arguments, monkeypatch=monkeypatch, capfd=capfd)

    return of


WRONG = {
    "key": (["data.pth=x"], ["no setting data.pth", "did you mean data.path=x?"]),
    "key of another choice": (
        ["data=nae", "data.path=x"],
        ["data.path is a setting of other choices: .*data=file.*data=text8"],
    ),
    "nested key": (
        ["logger=wandb", "logger.wandb.ofline=false"],
        ["did you mean logger.wandb.offline=false?"],
    ),
    "part": (["optimzer.lr=1"], ["no setting optimzer;", "did you mean optimizer.lr=1?"]),
    "group": (["trainr=ddp"], ["did you mean trainer=ddp?"]),
    "group without a key": (["experimnt=custom"], ["did you mean experiment=custom?"]),
    "choice": (
        ["experiment=text8_lerned_order"],
        ["did you mean experiment=text8_learned_order?", "choices: custom, nae_learned_order"],
    ),
    "launcher": (["hydra/launcher=slrm"], ["did you mean hydra/launcher=slurm?"]),
    "deleted": (
        ["~objective.drws"],
        ["no setting objective.drws", "did you mean ~objective.draws?"],
    ),
    "added": (["+trainr=ddp"], ["nothing reads; did you mean trainer=ddp?"]),
    "nothing like it": (["xyzzy=1"], ["no setting xyzzy; the configuration has", "optimizer"]),
    "no value": (["steps"], ["'steps' is not of the form KEY=VALUE"]),
    "grammar": (["seed=[1"], [r"'seed=\[1' cannot be read", "quotes"]),
    "part as a value": (["optimizer=5"], ["must be a string"]),
    "search path": (["hydra.searchpath=[file://nowhere]"], ["nowhere is not available"]),
    "sweep, key": (["-m", "seed=0,1", "data.pth=x,y"], ["did you mean data.path=x,y?"]),
    "sweep, choice": (
        ["-m", "seed=0,1", "schedule=linr,linear"],
        ["no schedule=linr; did you mean schedule=linear?"],
    ),
    "sweep, group": (["-m", "trainr=ddp,default"], ["did you mean trainer=ddp,default?"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_line_is_one_line_and_leaves_nothing(name, script, tmp_path):
    arguments, patterns = WRONG[name]
    status, out, err = script("train.py", *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    for pattern in patterns:
        assert re.search(pattern.replace("?", r"\?"), err), err
    assert os.listdir(tmp_path) == []
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_other_entry_points_too(script):
    cases = {
        "eval.py": (["checkpont=x"], "did you mean checkpoint=x?"),
        "ordo sample": (["sampler=first_hiting"], "did you mean sampler=first_hitting?"),
        "ordo export": (["ot=x"], "did you mean out=x?"),
        "ordo search": (["optimzer.lr=interval(0.1,1)"], "did you mean optimizer.lr="),
        "ordo collect": (["x", "--metrc", "own_nelbo"], "did you mean --metric?"),
        "scripts/benchmark.py": (["thruput"], "did you mean throughput?"),
        "scripts/reproduce_paper.py": (["--sets", "adlt"], "did you mean adult?"),
    }
    for name, (arguments, hint) in cases.items():
        status, _, err = script(name, *arguments)
        assert status == 2, name
        assert hint in err, err
        assert len(err.splitlines()) == 1, err


def test_a_checkpoint_that_is_not_there_is_a_wrong_command_line(script, tmp_path):
    """One that is there and cannot be read is a failure."""
    (tmp_path / "damaged.ckpt").write_bytes(b"x" * 100)
    out = f"out={tmp_path / 'x.csv'}"
    for name, *more in (("eval.py",), ("ordo sample", out), ("ordo export", out)):
        for checkpoint, code in (
            (tmp_path / "gone", 2),
            (tmp_path / "gone.ckpt", 2),
            (tmp_path, 2),
            (tmp_path / "damaged.ckpt", 1),
        ):
            status, _, err = script(name, f"checkpoint={checkpoint}", *more)
            assert (status, len(err.splitlines())) == (code, 1), (name, checkpoint, err)
            assert ("no checkpoint at" in err) == (code == 2)
    status, _, err = script("ordo compare", tmp_path / "gone", tmp_path / "too")
    assert (status, len(err.splitlines())) == (2, 1), err


def test_exit_codes(script, tmp_path):
    assert script("train.py", *PLAN, "report=null", f"output={tmp_path / 'run'}")[0] == 0
    (tmp_path / "damaged.ckpt").write_bytes(b"x" * 100)
    failed = {
        "resume=gone/last.ckpt": 2,
        "resume=gone": 2,
        f"resume={tmp_path / 'damaged.ckpt'}": 1,
        "optimizer.lr=1e30 optimizer.warmup_steps=0": 1,
        "+objective.foo=1": 2,
        "denoiser=bidirectional": 2,
        "threads=0": 2,
        "output=${oput}": 2,
    }
    for arguments, code in failed.items():
        status, _, err = script("train.py", *PLAN, *arguments.split())
        assert (status, len(err.splitlines())) == (code, 1), (arguments, err)
    assert script("train.py", "data=file", "data.path=gone")[0] == 1
    assert script("eval.py", "checkpoint=gone")[0] == 2
    assert script("eval.py")[0] == 2
    assert script("eval.py", f"checkpoint={tmp_path / 'run'}", "split=tset")[0] == 2
    assert script("ordo collect", "gone")[0] == 2
    # of a sweep: that of the first job that failed
    assert script("train.py", "-m", *PLAN, "report=null", "threads=0,1", "output=sweep")[0] == 2


def child(*arguments, cwd, **environment):
    """train.py in a process of its own. A shell starts what runs in the background deaf to Ctrl-C,
    and a child is as its parent, so the child is made to heed Ctrl-C again.
    """
    paths = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | paths | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **pipes,
    )


def test_the_traceback_is_there_for_those_who_ask(script, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    status, _, err = script("train.py", "optimzer.lr=1")
    assert status == 2
    assert "Traceback" in err
    assert "ConfigCompositionException" in err
    told = "error: there is no setting optimzer; did you mean optimizer.lr=1?"
    assert err.splitlines()[-1] == told
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


FIRST = {
    signal.SIGINT: "stopping after this step; Ctrl-C again stops at once",
    signal.SIGTERM: "SIGTERM: stopping after this step",
}
LONG = [
    *PLAN,
    "report=null",
    "output=run",
    "callbacks.order.pictures=false",
    "callbacks.progress.every=0",
    "optimizer.warmup_steps=1",
]


def stopped(number, status, err, folder):
    """Whether a run says what a run that was stopped by a signal has to say; the arguments of the
    command that goes on with the run, and the step of its checkpoint.
    """
    assert status == 128 + number, err
    step = last(folder)["global_step"]
    first, second = [line for line in err.splitlines() if line]
    assert first == FIRST[number]
    told = f"stopped at step {step}, last checkpoint of step {step} in run; to go on: python "
    assert second.startswith(told)
    assert second.endswith(" output=run resume=auto")
    left = ["checkpoints", "config.yaml", "csv", "provenance.json"]
    assert sorted(os.listdir(folder)) == left
    return shlex.split(second.partition("train.py ")[2]), step


@pytest.mark.parametrize("number", FIRST)
def test_a_signal_in_training(number, script, tmp_path):
    """The exit code, a checkpoint of the step at hand, and a command that goes on to the numbers of
    a run that was left alone.
    """
    plan = [*LONG, "steps=8", "validate_every=8", "checkpoint_every=8"]
    status, _, err = script("train.py", *plan, *kill_at(5, number))
    again, step = stopped(number, status, err, tmp_path / "run")
    assert step == 6
    if number == signal.SIGTERM:
        return
    status, _, err = script("train.py", *again)
    assert status == 0, err
    status, _, err = script("train.py", *plan, "output=whole")
    assert status == 0, err
    one, other = (last(tmp_path / name)["state_dict"] for name in ("run", "whole"))
    assert last(tmp_path / "run")["global_step"] == 8
    assert all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.slow  # a quarter of a minute: two processes
@pytest.mark.parametrize("number", FIRST)
def test_a_signal_to_a_process(number, tmp_path):
    """A real signal from another process while train.py trains."""
    endless = ["steps=100000", "validate_every=100000", "checkpoint_every=100000"]
    process = child(*LONG, *endless, "trainer.log_every_n_steps=1", cwd=tmp_path)
    deadline = time.monotonic() + 100
    while not (tmp_path / "run/csv/metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    stopped(number, process.returncode, err, tmp_path / "run")


class SendsSignal:
    """Another thread that sends signals, as a terminal does."""

    def __init__(self, *numbers, pause=0.05):
        self.thread = threading.Thread(
            target=lambda: [(time.sleep(pause), os.kill(os.getpid(), n)) for n in numbers]
        )

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(number):
    before = signal.getsignal(number)
    watch = StopSignals()
    watch.watch()
    with SendsSignal(number):
        time.sleep(0.3)
    assert watch.asked == [number]
    with pytest.raises(Stopped) as stop, SendsSignal(number):
        time.sleep(2)
    assert stop.value.number == number
    watch.release()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_waits_for_a_write(tmp_path, monkeypatch):
    """A checkpoint that is being written is whole; then the run stops, without another error."""
    whole, written = checksum.save, tmp_path / "last.ckpt"

    def slow(content, path):
        time.sleep(0.3)
        whole(content, path)
        time.sleep(0.3)

    monkeypatch.setattr(checksum, "save", slow)
    watch = StopSignals()
    watch.watch()
    signal.raise_signal(signal.SIGINT)
    try:
        with pytest.raises(Stopped), SendsSignal(signal.SIGINT, pause=0.1):
            WholeFiles().save_checkpoint({"step": 1}, written)
    finally:
        watch.release()
    assert torch.load(written, weights_only=True) == {"step": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_handlers_of_others_are_called_once_a_checkpoint_is_there():
    """submitit ignores SIGTERM, and puts the job back into the queue at SIGUSR2."""
    called = []
    before = {
        n: signal.signal(n, lambda n, frame: called.append(n))
        for n in (signal.SIGTERM, signal.SIGUSR2)
    }
    try:
        watch = StopSignals()
        watch.watch()
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM):
            signal.raise_signal(number)
        assert called == []
        assert watch.asked, "so a checkpoint is written"
        watch.act()
        assert called == [signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM], "and training goes on"
        assert watch.asked == []
        watch.release()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_imports(number, code, tmp_path):
    process = child(*PLAN, cwd=tmp_path)
    maps = Path(f"/proc/{process.pid}/maps")
    while (
        "numpy" not in maps.read_text() and process.poll() is None
    ):  # within the imports, which take seconds
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", "")
    assert os.listdir(tmp_path) == []


def test_every_entry_point_takes_ctrl_c_from_its_first_import():
    paths = [ROOT / "train.py", ROOT / "eval.py", ROOT / "src" / "ordo" / "__main__.py"]
    for path in (*paths, *(ROOT / "scripts").glob("*.py")):
        imports = re.findall(
            r"^(?:import|from) (?!__future__)(\S+)", path.read_text(), re.MULTILINE
        )
        assert imports[0] == "ordo.stop", path


def modules():
    """path -> name of every module of the library but the entry point and what that imports
    first.
    """
    for path in sorted((ROOT / "src").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        if name not in ("ordo.stop", "ordo.__main__"):
            yield path, name.removesuffix(".__init__")


def at_import(tree):
    """The parts of a module that run when it is imported: all but the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import(node)


def test_no_module_takes_signals_at_its_import():
    """In a notebook or a program of the user's own, Ctrl-C still raises KeyboardInterrupt."""
    taking = {"signal", "leave_quietly", "sigaction"}
    for path, name in modules():
        for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                called = called.attr if isinstance(called, ast.Attribute) else called
                called = called.id if isinstance(called, ast.Name) else called
                assert called not in taking, (name, node.lineno)
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "ordo.stop" not in ast.unparse(node), name


@pytest.mark.slow  # ten seconds: everything is imported anew
def test_the_library_leaves_signals_alone():
    """The same of what is imported from elsewhere too."""
    names = [name for _, name in modules()]
    assert "ordo.interrupt" in names
    code = "import importlib, signal; before = [signal.getsignal(n) for n in (2, 15)]\n"
    code += f"for name in {names}: importlib.import_module(name)\n"
    code += "assert [signal.getsignal(n) for n in (2, 15)] == before"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_report(number, script, tmp_path, monkeypatch):
    def stopped(*_, **__):
        signal.raise_signal(number)

    monkeypatch.setattr("ordo.runs.run.examine", stopped)
    status, out, err = script(
        "train.py", *PLAN, "output=run", "callbacks.order.pictures=false", "quiet=true"
    )
    assert (status, out) == (128 + number, "")
    assert err.startswith("interrupted; to go on: python ")
    assert len(err.splitlines()) == 1
    assert last(tmp_path / "run")["run"]["outstanding"] is False


def test_a_signal_in_a_validation(tmp_path):
    """The run stops after the batch at hand, and goes on with the whole validation."""
    plan = [*NAE, "steps=4", "validate_every=2", "callbacks.order.pictures=false"]

    class Signal(L.Callback):
        def on_validation_batch_start(self, trainer, *_):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"stopped at step 2, last checkpoint of step 2 in") as stop:
        train(configuration(tmp_path / "run", *plan), [Signal()])
    assert stop.value.number == signal.SIGTERM
    assert last(tmp_path / "run")["run"] | {"rows": 0, "held": 0} == {
        "validated": 0,
        "outstanding": True,
        "stopped": None,
        "rows": 0,
        "held": 0,
    }


def test_what_is_said_when_nothing_was_kept(tmp_path):
    assert stopped_at(3, tmp_path) == "stopped at step 3, before any checkpoint was written"


def test_ctrl_c_elsewhere(script, monkeypatch):
    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("ordo.commands.eval.find", stop)
    assert script("eval.py", "checkpoint=x") == (130, "", "interrupted\n")


def test_quiet(script, tmp_path):
    """Nothing but the result, in one line, with the number of report.json; a failure is told all
    the same.
    """
    status, out, err = script("train.py", *PLAN, "seed=3", "quiet=true", "output=run")
    assert (status, err) == (0, "")
    (line,) = out.splitlines()
    estimate = pd.read_json(tmp_path / "run" / "report.json", typ="series")["estimates"][
        "own_nelbo"
    ]
    nats, error = estimate["nats_above_entropy"], estimate["standard_error"]
    assert f"model {nats:.3f} ± {error:.3f} nats above the entropy (run" in line
    assert "seed=3, val data, NELBO under the own law" in line
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").label.startswith("custom ")
    status, out, err = script("eval.py", "checkpoint=run", "quiet=true", "samples=2", "sequences=8")
    assert (status, err, len(out.splitlines())) == (0, "", 1)
    status, out, err = script(
        "ordo sample",
        "checkpoint=run",
        "n=4",
        "out=s.txt",
        "quiet=true",
        "sampler=given_order",
        "sampler.where.order=right_to_left",
    )
    assert (status, out, len(err.splitlines())) == (0, "", 1)
    status, out, err = script("ordo collect", "run", "--quiet")
    assert (status, out, err) == (0, "1 runs: run/runs.csv, means.csv, runs.png\n", "")
    status, out, err = script("train.py", *PLAN, "quiet=true", "denoiser.heads=3")
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_search_is_quiet_and_goes_on(script):
    pytest.importorskip("optuna")
    plan = [
        *(x for x in PLAN if x != "compare=null"),
        "optimizer.lr=choice(0.01,0.001)",
        "--trials",
        "1",
    ]
    status, out, err = script("ordo search", *plan, "--quiet")
    assert (status, err) == (0, "")
    assert out.startswith("ordo train ")
    status, again, err = script("ordo search", *plan)
    assert (status, again, err) == (0, out, ""), "the same study, loud or quiet"


@pytest.mark.slow  # ten seconds
def test_nothing_to_be_seen_on_standard_error_by_default(tmp_path):
    """No wall of warnings: a real process, default logger, callbacks and report. Without a report
    test_resume.py looks at such a process.
    """
    process = child(*PLAN, "optimizer.warmup_steps=2", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert [line[:10] for line in err.splitlines()] == ["step 2/4  ", "step 4/4  "]
    assert "to look at: outputs/custom/" in out


def test_help_names_choices_and_exit_codes(script):
    status, out, _ = script("ordo sample", "--help")
    assert status == 0
    named = out.partition("Samplers")[2].partition("out:")[0]
    assert set(re.findall(r"\w+", named.partition("\n\n")[2])) == {
        path.stem for path in (Path(CONFIGS) / "sampler").glob("*.yaml")
    }
    for name in ("train.py", "eval.py", "ordo sample", "ordo export", *SCRIPTS):
        status, out, _ = script(name, "--help")
        assert status == 0
        assert "Exit codes: 0 done, 1 failed while running," in out, name
        assert "quiet" in out, name


@pytest.mark.parametrize("name", ["train.py", "eval.py", "ordo sample", "ordo export"])
def test_cfg_job(name, script):
    status, out, err = script(name, "--cfg", "job")
    assert (status, err) == (0, "")
    assert OmegaConf.create(out).quiet is False


def test_every_option_is_explained(script, monkeypatch):
    parsers = []
    monkeypatch.setattr(
        Parser, "parse_args", lambda self, *a, **k: parsers.append(self) or sys.exit(0)
    )
    monkeypatch.setattr(
        Parser, "parse_intermixed_args", lambda self, *a, **k: parsers.append(self) or sys.exit(0)
    )
    for name in SCRIPTS:
        script(name)
    assert len(parsers) == 4
    subs = [
        sub
        for parser in parsers
        for action in parser._actions
        if isinstance(action.choices, dict)
        for sub in action.choices.values()
    ]
    for parser in (*parsers, *subs):
        for action in parser._actions:
            assert action.help or isinstance(action.choices, dict), (parser.prog, action.dest)


def test_closest():
    assert closest("lerning_rate", ["lr", "learning_rate", "layers"]) == "learning_rate"
    assert closest("xyzzy", ["lr", "layers"]) is None


def test_two_runs_of_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration("x", *NAE)
    configs = [config.copy(), config.copy()]
    for each in configs:
        each.output = "outputs/${name}/${now:%Y-%m-%d_%H-%M-%S}"
    time.sleep(1.02 - time.time() % 1)  # early in a second
    with own_folder(configs[0]) as one, own_folder(configs[1]) as other:
        assert one != other
        assert re.fullmatch(r"outputs/custom/\d{4}(-\d\d){2}_\d\d(-\d\d){2}", str(other))
        assert configs[1].output == str(other), "what the run uses"
        (other / "something").touch()
    assert not one.exists()
    assert (other / "something").exists()
    with own_folder(config) as given:
        assert given == Path("x")
        with own_folder(config) as again:
            assert again == given, "a folder that the user names may be there"
        assert given.exists()
    assert not given.exists()


def test_labels():
    config = configuration("x", "seed=4")
    task = [
        "experiment=custom",
        "output=x",
        "seed=4",
        "optimizer.lr=0.1",
        "data.path=/a/b/c.txt",
        "~callbacks.ema",
        "quiet=true",
    ]
    assert label(config, task) == "custom data.path=c.txt optimizer.lr=0.1 ~callbacks.ema seed=4"
    assert label(config, task) == label(config, task[::-1])
    assert label(config, []) == "custom seed=4"
    long = label(config, ["data.path=" + "x" * 300])
    assert len(long) == names.LABEL_CHARACTERS
    assert long.endswith("xxx seed=4")
    assert "xxx…xxx" in long


def test_a_long_label_tells_every_setting():
    """Runs of a sweep whose settings do not fit on the line still have labels of their own."""
    config = configuration("x", "seed=4")
    shared = ["optimizer.schedule_lr=0.05", "schedule.width=64", "denoiser.width=128", "~a.ema"]
    labels = [label(config, [*shared, f"optimizer.warmup_steps={n}"]) for n in (1, 2, 10)]
    assert labels[2] == (
        "custom denoiser.width=128 schedule_lr=0.05 warmup_steps=10 schedule.width=64 ~ema seed=4"
    )
    shared += ["denoiser.heads=16", "optimizer.schedule_delay=4000"]
    labels = [label(config, [*shared, f"optimizer.warmup_steps={n}"]) for n in (1, 2, 10)]
    assert len(set(labels)) == 3
    assert all(len(text) <= names.LABEL_CHARACTERS for text in labels)


def test_the_label_is_the_name_in_wandb(script, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    named = []
    init = wandb.init
    monkeypatch.setattr(
        wandb, "init", lambda **settings: named.append(settings["name"]) or init(**settings)
    )
    status, _, err = script(
        "train.py",
        *PLAN,
        "logger=wandb",
        "output=run",
        "report=null",
        "seed=2",
        "callbacks.order.pictures=false",
    )
    assert status == 0, err
    assert "wandb" not in err, err
    assert len(named) == 1
    assert named[0].startswith("custom ")
    assert named[0].endswith("seed=2")


@pytest.mark.parametrize("group", ["schedule", "data", "optimizer", "callbacks"])
def test_a_list_of_numbers_in_place_of_a_choice(group, monkeypatch, capfd):
    status, _, err = call(
        "train.py", "experiment=custom", f"{group}=[1,2]", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status == 2
    assert err.startswith(f"error: {group}=[1,2]: a choice is a name; choices: ")
    assert len(err.splitlines()) == 1
