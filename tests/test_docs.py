"""README and docs/: every Python block runs, every command runs in a quick form, every choice and
metric that is listed exists.

A page's blocks share a namespace and a folder, in which a block whose first line names a file is
written as that file. A command is run in this process by its own program, with SUBSTITUTES put in
for what a reader has and TINY settings appended.
"""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny_models import tiny_model
from tiny_runs import CONFIGS, LETTERS, call

from ordo import plots
from ordo.runs.run import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    *sorted(
        p for p in (ROOT / "docs").rglob("*.md") if not {"benchmarks", "notebooks"} & {*p.parts}
    ),
]
BLOCK = r"^```(\w+)\n((?s:.*?))^```$"
COMMAND = r"^ {4}((?:\w+=\S+ )*(?:ordo|python3?|sh|torchrun|srun|sphinx-build) (?:.*\\\n)*.*)$"
ITEM = re.compile(f"{BLOCK}|{COMMAND}", re.MULTILINE)

TINY = {
    "steps": 2,
    "validate_every": 2,
    "checkpoint_every": 2,
    "threads": 1,
    "compare": "null",
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "report.sequences": 4,
    "report.draws": 1,
    "report.importance_draws": 1,
    "report.exact_sequences": 2,
    "report.orders": 2,
    "report.samples": 1,
    "report.page": "false",
    "data.batch_size": 4,
    "data.eval_batch_size": 4,
    "data.length": 12,
    "data.limit_eval": 8,
    "data.eval_size": 8,
    "data.bank": 8,
    "data.shuffle_buffer": 20,
    "data.num_workers": 0,
    "denoiser.width": 8,
    "denoiser.heads": 2,
    "denoiser.layers": 1,
    "callbacks.samples.n": 1,
    "optimizer.warmup_steps": 1,
    "optimizer.schedule_delay": 1,
}
SPLITS = "{train: 'train[16:]', validation: 'train[:8]', test: 'train[8:16]'}"
# What the pages call it -> what stands there in the test, in this order.
SUBSTITUTES = [
    ("checkpoint=outputs/NAME/TIME n=1000 out=table.csv", "checkpoint={table} n=20 out=table.csv"),
    ("checkpoint=outputs/NAME/TIME impute=", "checkpoint={table} impute="),
    ("outputs/NAME/TIME", "{text}"),
    (
        "experiment=NAME resume=",
        "experiment=text8_learned_order_cpu output=again steps=4 data.path=letters resume=",
    ),
    ("experiment=NAME 'optimizer", "experiment=custom data=nae 'optimizer"),
    ("experiment=NAME", "experiment=custom data=nae"),
    ("data.path=text8", "data.path=letters"),
    ("book.txt", "letters"),
    ("data.path=qm9.csv", "data.path=molecules.csv"),
    (
        "data.source=FOLDER data.tokenizer=gpt2",
        "data.source=corpus data.tokenizer=gpt2 data.cache_dir=cache",
    ),
    ("data.length=256", "data.length=12"),
    ("data.tokenizer=gpt2", "data.tokenizer=models/gpt2"),
    ("denoiser.name=gpt2", "denoiser.name=models/gpt2"),
    ("out=my_model", "out=given_away"),
    (
        "train[2000:]', validation: 'train[:1000]', test: 'train[1000:2000]'",
        "train[16:]', validation: 'train[:8]', test: 'train[8:16]'",
    ),
    ("--trials 20", "--trials 2"),
]
# Commands that do not run here, by a part of them: why, and what is done instead.
NOT_HERE = {
    "venv": "installs; .ci/run runs the README's test command, test_train.py the quickstart",
    "sphinx-build": "a step of .ci/run",
    "trainer=ddp": "processes and GPUs; composed, and tests/training/test_processes.py runs two",
    "trainer=fsdp": "processes and GPUs; composed, and tests/training/test_processes.py runs two",
    "compile=true": "minutes; composed, and tests/training/test_optimisation.py compiles a step",
    "data=fineweb_edu_stream": "the network; composed; test_corpus_run.py streams a local corpus",
    "reproduce_paper.py": "tests/training/test_studies.py::test_reproduce_paper_runs",
    "scripts/benchmark.py": "tests/training/test_studies.py::test_a_study_runs",
}


def items(page):
    """(kind, text) of a page's fenced blocks and indented commands, in order; comments and line
    ends of commands are taken away.
    """
    found = []
    for kind, block, command in ITEM.findall(page.read_text(encoding="utf-8")):
        if command or kind in ("sh", "bash"):
            lines = re.sub(r"\\\n\s*", " ", command or block).splitlines()
            found += [("command", re.sub(r"(^|\s{2,})#.*", "", line).strip()) for line in lines]
        else:
            found.append((kind, block))
    return [item for item in found if item[1]]


def commands(page):
    return [text for kind, text in items(page) if kind == "command"]


def named(page):
    return page.relative_to(ROOT).as_posix()


def reason(command):
    return next((why for part, why in NOT_HERE.items() if part in command), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What readers have: a text, a table, a corpus, a language model, and runs of a text and of a
    table.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "letters").write_text(LETTERS)
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 60, 80),
            "city": random.choice(["x", "y"], 80),
            "gain": random.lognormal(size=80).round(2),
        }
    )
    frame.to_csv(folder / "my.csv", index=False)
    frame.head(5).assign(gain="").to_csv(folder / "holes.csv", index=False)
    (folder / "molecules.csv").write_text(
        "smiles\n" + "".join(f"{'C' * n}{end}\n" for n in range(1, 12) for end in ("O", "N", "F"))
    )
    (folder / "corpus").mkdir()
    (folder / "corpus" / "a.jsonl").write_text(
        "".join(f'{{"text": "the quick brown fox {i} jumps over the dog"}}\n' for i in range(120))
    )
    tiny_model(folder / "models" / "gpt2", "gpt2")
    (folder / "models" / "sudoku").symlink_to(ROOT / "models" / "sudoku")
    np.save(folder / "ids.npy", random.integers(0, 9, (80, 12)))
    for name, experiment, data in (
        ("text", "text8_learned_order_cpu", "letters"),
        ("table", "table_learned_order", "my.csv"),
    ):
        plan = [f"experiment={experiment}", f"data.path={folder / data}", f"output={folder / name}"]
        train(composed([*plan, *tiny(plan)]))
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A folder with all that, in which commands run."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes half the time of a tiny run; tests/plots looks at pictures."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)


def composed(overrides):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train", [*overrides, "name=docs"])


def tiny(arguments, folder="."):
    """TINY settings that the configuration of ``arguments``, overrides of train.py, has and does
    not give itself; of a sweep the first.
    """
    plan = [
        re.sub(r"^(\w[\w.]*)=([\w.]+),.*|^([\w.]+)=tag\(.*", r"\1=\2", a).strip("=")
        for a in arguments
    ]
    plan = [
        a.replace("file://", f"file://{folder}/")
        for a in plan
        if "=" in a and not a.startswith("resume=")
    ]
    config = composed(sorted(plan, key=lambda a: "searchpath" not in a))
    given = tuple(a.partition("=")[0] for a in arguments)

    def wanted(key):
        part, _, name = key.rpartition(".")
        node = OmegaConf.select(config, part) if part else config
        return (
            node is not None
            and name in node
            and not any(g == key or g.startswith(f"{key}.") for g in given)
        )

    settings = {"data.splits": SPLITS} | TINY
    return [f"{key}={value}" for key, value in settings.items() if wanted(key)]


def execute(command, folder, monkeypatch, capfd):
    """The command in its quick form. Returns its standard output."""
    for name, there in SUBSTITUTES:
        command = command.replace(name, there.format(text=folder / "text", table=folder / "table"))
    words = shlex.split(command)
    while re.fullmatch(r"\w+=.*", words[0]):
        assert words[0] == "PYTHONPATH=."
        monkeypatch.syspath_prepend(str(folder))
        words = words[1:]
    program = " ".join(words[:2]) if words[0] == "ordo" else words[1]
    arguments = [a.replace("file://", f"file://{folder}/") for a in words[2:]]
    shown = {"--help", "--cfg"} & set(arguments)
    if program in ("ordo train", "train.py") and not shown:
        arguments += tiny(words[2:], folder)
    elif program == "ordo search":
        arguments = [*(a for a in tiny(words[2:], folder) if a != "compare=null"), *arguments]
    elif program == "ordo eval":
        arguments += [
            "sequences=4",
            "draws=1",
            "importance_draws=1",
            "exact_sequences=2",
            "orders=2",
            "samples=1",
            "threads=1",
        ]
    elif program == "ordo sample":
        arguments += ["threads=1"]
    before = set(sys.modules)
    status, out, err = call(program, *arguments, monkeypatch=monkeypatch, capfd=capfd)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    assert status == 0, f"{command}\n{out}\n{err}"
    return out + err


def run_page(page, folder, then):
    """Writes files and runs Python blocks in order; hands commands to ``then``."""
    torch.manual_seed(0)
    names = {"__name__": "page"}
    for kind, text in items(page):
        if match := re.match(r"# ([\w/]+\.(?:py|yaml))\n", text):
            path = folder / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if kind == "python":
            exec(compile(text, named(page), "exec"), names)
        elif kind == "command":
            then(text)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(kind == "python" for kind, _ in items(page))], ids=named
)
def test_a_page_runs(page, place, monkeypatch, capfd):
    """Blocks, and of pages that write files also the commands, which need them."""
    monkeypatch.syspath_prepend(str(place))
    extends = page.parent.name == "extend"
    run_page(page, place, lambda command: extends and execute(command, place, monkeypatch, capfd))


CASES = [
    (named(page), command)
    for page in PAGES
    if page.parent.name != "extend"
    for command in commands(page)
]
HERE = [case for case in CASES if reason(case[1]) is None]


@pytest.mark.parametrize(("page", "command"), HERE)
def test_a_command_runs(page, command, place, request, monkeypatch, capfd):
    if "logger=" not in command:  # loggers are given the pictures
        request.getfixturevalue("no_pictures")
    if "my_configs" in command:  # the files of its page
        monkeypatch.syspath_prepend(str(place))
        run_page(ROOT / page, place, lambda command: None)
    if "outputs/A" in command and "ordo train" not in command:
        first = next(c for c in commands(ROOT / page) if "output=outputs/A" in c)
        execute(
            re.sub(r"seed=\S+|schedule=\S+", "", first) + " seed=0,1 data=nae",
            place,
            monkeypatch,
            capfd,
        )
    assert execute(command, place, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("page", "command"),
    [case for case in CASES if reason(case[1]) and " train" in case[1] and "venv" not in case[1]],
)
def test_a_command_that_does_not_run_here_composes(page, command):
    words = shlex.split(command)
    arguments = [a.replace("NAME", "custom") for a in words[words.index("train") + 1 :]]
    config = composed(arguments)
    assert config.denoiser._target_.startswith("ordo.")


def test_what_is_not_run_is_said_once_and_is_there():
    for part in NOT_HERE:
        assert any(part in command for _, command in CASES), (
            f"no command has {part}: take it off the list"
        )
    for part, _ in SUBSTITUTES:
        assert any(part in command for _, command in CASES), f"no command has {part}"
    for why in NOT_HERE.values():
        for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", why):
            assert (ROOT / path).is_file()
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")


GROUPS = ["experiment", "data", "schedule", "objective", "denoiser", "sampler"]
GROUPS += ["callbacks", "logger", "trainer", "debug"]


@pytest.mark.parametrize("group", GROUPS)
def test_listed_choices_are_the_choices(group):
    """The table below a line that ends in `group=` has a row for every choice, and no other."""
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    table = re.search(rf"`{group}=`:?\n\n(?:(?!\||#).*\n+)*((?:\|.*\n)+)", page)
    listed = re.findall(r"^\| `(\w+)` \| \S", table[1], re.MULTILINE)
    existing = {path.stem for path in (Path(CONFIGS) / group).glob("*.yaml")}
    assert sorted(listed) == sorted(existing)


def test_both_commands_are_there():
    assert len(re.findall(r"^python3 -m venv .venv && .*", README, re.MULTILINE)) == 2


def test_the_readme_is_short():
    lines = README.splitlines()
    assert len(README.split()) <= 900
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 100


@pytest.mark.usefixtures("no_pictures")
def test_metrics_are_those_of_runs(place, monkeypatch, capfd):
    """The table of docs/files.md against two runs that have everything between them."""
    logged = set()
    for name, parts in (
        ("dense", "schedule=power_network"),
        ("time", "denoiser=bidirectional objective=time"),
    ):
        often = "trainer.log_every_n_steps=1 callbacks.order.every=1 callbacks.gradient.every=1"
        execute(f"ordo train output={name} {parts} {often} report=null", place, monkeypatch, capfd)
        logged |= set(pd.read_csv(place / name / "csv" / "metrics.csv").columns) - {"epoch", "step"}
    assert logged == names_in_table(1)


def test_files_are_those_of_a_run(place, monkeypatch, capfd):
    """The table of docs/files.md has every file of a run with a partner and of its evaluation."""
    execute(
        "ordo train output=dense compare.label=random report.page=true",
        place,
        monkeypatch,
        capfd,
    )
    left = {
        path.relative_to(place / "dense").as_posix()
        for path in (place / "dense").rglob("*")
        if path.is_file()
    }
    listed = names_in_table(0)
    assert {path.removeprefix("compared_with/") for path in left} <= listed
    assert {path for path in left if path.startswith("compared_with/")}
    execute("ordo eval checkpoint=dense", place, monkeypatch, capfd)
    evaluated = place / "dense" / "checkpoints" / "eval_test"
    assert {
        path.relative_to(evaluated).as_posix() for path in evaluated.rglob("*") if path.is_file()
    } <= listed


def names_in_table(number):
    """What stands in code in the first column of a table of docs/files.md."""
    table = re.findall(
        r"(?:^\|.*\n)+", (ROOT / "docs" / "files.md").read_text(encoding="utf-8"), re.MULTILINE
    )[number]
    return {
        name
        for row in re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }
