"""A stranger's file executes nothing, fetches nothing, and says nothing of where this machine reads
or writes.
"""

import copy
import json
import re
import shutil
import sys

import pytest
import torch
from tiny_runs import NAE, QUIET, call, last, run, text_overrides

from ordo.data import DataError
from ordo.errors import ConfigError
from ordo.runs import CheckpointError, load, load_data
from ordo.saved import OrderedModel

SIDE_EFFECT = (
    "from pathlib import Path\nPath({!r}).touch()\nclass Evil:\n    def __init__(self, **_): pass\n"
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run on a task, whose whole model can be described by its file, and one on a text."""
    folder = tmp_path_factory.mktemp("payloads")
    few = ["steps=2", "validate_every=2", "checkpoint_every=2", *QUIET, "callbacks.samples=null"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ordo.plots.save", lambda figure, path: None)
        run(folder / "task", *NAE, *few, "schedule=power_table", "objective=order")
        run(folder / "text", *text_overrides(folder), *few)
    OrderedModel.of_checkpoint(folder / "task").save_pretrained(folder / "saved")
    return folder


def deep(levels):
    node = {"x": 1}
    for _ in range(levels):
        node = {"x": node}
    return node


def payloads(marker):
    """Name -> (part, what is put into it at a key, what the message must name). marker: the file
    that must not come to be.
    """
    touch = {"_target_": "pathlib.Path.touch", "self": str(marker)}
    opens = {"_target_": "builtins.open", "file": str(marker), "mode": "w"}
    shell = {"_target_": "os.system", "command": f"touch {marker}"}
    inner = f"{{_target_:pathlib.Path.touch,_args_:['{marker}']}}"
    nested = f"${{oc.create:{{_target_:builtins.float,_args_:[{inner}]}}}}"
    power, task = "ordo.schedules.Power", "ordo.data.NotAllEqual"
    return {
        "an interpolation of a sibling": ("denoiser", "x", "${evil}", "denoiser.x"),
        "a resolver that makes a part": ("denoiser", "dropout", nested, "denoiser.dropout"),
        "a resolver that reads the environment": ("denoiser", "x", "${oc.env:HOME}", "denoiser.x"),
        "a resolver of Hydra": ("schedule", "x", "${hydra:runtime.cwd}", "schedule.x"),
        "a resolver within text": ("schedule", "x", "a ${oc.decode:'1'} b", "schedule.x"),
        "an interpolation in a list": ("schedule", "x", [1, ["${evil}"]], r"schedule.x\[1\]\[0\]"),
        "the shell": ("denoiser", None, shell, "denoiser._target_=os.system"),
        "a file opened": ("schedule", None, opens, "schedule._target_=builtins.open"),
        "a method": ("schedule", "network", touch, "schedule.network._target_=pathlib.Path.touch"),
        "a class of another package": (
            "denoiser",
            None,
            {"_target_": "pathlib.Path"},
            "denoiser._target_=pathlib.Path",
        ),
        "in a list": ("schedule", "x", [shell], r"schedule.x\[0\]._target_=os.system"),
        "deep in a list": (
            "denoiser",
            "x",
            [[{"a": [shell]}]],
            r"denoiser.x\[0\]\[0\].a\[0\]._target_=os.system",
        ),
        "in a mapping": ("denoiser", "x", {"a": {"b": shell}}, "denoiser.x.a.b._target_=os.system"),
        "eval": (
            "denoiser",
            "x",
            {"_target_": "builtins.eval", "_args_": [f"open({str(marker)!r}, 'w')"]},
            "denoiser.x",
        ),
        "a partial": (
            "schedule",
            "x",
            {"_target_": power, "_partial_": True},
            "schedule.x._partial_",
        ),
        "arguments by position": ("schedule", "_args_", [3], "schedule._args_"),
        "a key of Hydra's": ("denoiser", "_recursive_", False, "denoiser._recursive_"),
        "a conversion that is a part": ("denoiser", "_convert_", shell, "denoiser._convert_"),
        "a module with a side effect": (
            "schedule",
            None,
            {"_target_": "side_effect.Evil"},
            "schedule._target_=side_effect.Evil",
        ),
        "the same, nested": (
            "schedule",
            "network",
            {"_target_": "side_effect.Evil"},
            "schedule.network._target_",
        ),
        "a module of torch": (
            "denoiser",
            None,
            {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
            "torch.nn.Linear",
        ),
        "a pickle": (
            "denoiser",
            "x",
            {"_target_": "torch.load", "f": "x", "weights_only": False},
            "denoiser.x._target_=torch.load",
        ),
        "a table of pickles": (
            "denoiser",
            "x",
            {"_target_": "pandas.read_pickle", "filepath_or_buffer": "x"},
            "pandas.read_pickle",
        ),
        "a function of ordo": (
            "schedule",
            None,
            {"_target_": "ordo.data.download.fetch", "url": "x"},
            "ordo.data.download.fetch",
        ),
        "a run of ordo": (
            "schedule",
            None,
            {"_target_": "ordo.runs.run.train"},
            "ordo.runs.run.train",
        ),
        "a fetching constructor": (
            "denoiser",
            None,
            {"_target_": "ordo.denoisers.PretrainedDenoiser.from_masked_lm", "name": "a/b"},
            "from_masked_lm",
        ),
        "what a module of ordo imports": (
            "schedule",
            None,
            {"_target_": "ordo.schedules.power.torch"},
            "ordo.schedules.power.torch",
        ),
        "a part of another kind": (
            "denoiser",
            None,
            {"_target_": "ordo.data.TextData", "source": "text8"},
            "ordo.data.TextData",
        ),
        "a name that is no string": ("denoiser", "_target_", ["os", "system"], "denoiser._target_"),
        "a name of two lines": (
            "denoiser",
            "_target_",
            "ordo.denoisers.\nBidirectionalTransformer",
            "denoiser._target_",
        ),
        "a name with dots": ("schedule", "_target_", "ordo.schedules..Power", "schedule._target_"),
        "no name": ("denoiser", None, {"length": 3}, "denoiser is no description"),
        "no mapping": ("schedule", None, "os.system", "schedule is no description|holds no model"),
        "deeper than anything": ("denoiser", "x", deep(200), "denoiser.x.*nested"),
        "a task": ("data.task", None, shell, "data.task._target_=os.system"),
        "in a task": ("data.task", "n_latents", shell, "data.task.n_latents._target_=os.system"),
        "an interpolation in a task": ("data.task", "n_latents", "${evil}", "data.task.n_latents"),
        "data as a task": (
            "data.task",
            None,
            {"_target_": "ordo.data.TextData"},
            "data.task._target_=ordo.data.TextData",
        ),
        "a model as a task": (
            "data.task",
            None,
            {"_target_": power},
            "data.task._target_=ordo.schedules.Power",
        ),
        "a task as a part": (
            "denoiser",
            "x",
            {"_target_": task},
            "denoiser.x._target_=ordo.data.NotAllEqual",
        ),
    }


NAMES = list(payloads("x"))


def poisoned(config, part, key, value):
    """The configuration with the value at a key of a part, or in place of the part."""
    config = copy.deepcopy(config)
    config["evil"] = {"_target_": "pathlib.Path.touch", "self": "EXECUTED"}
    *above, name = part.split(".")
    node = config
    for step in above:
        node = node[step]
    if key is None:
        node[name] = value
    else:
        node[name][key] = value
    return config


@pytest.fixture
def files(stored, tmp_path, monkeypatch):
    """Poisons a checkpoint and a saved model: name -> (checkpoint, saved model, pattern that the
    message must match).
    """
    marker = tmp_path / "EXECUTED"
    (tmp_path / "side_effect.py").write_text(SIDE_EFFECT.format(str(marker)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: marker.touch())

    def of(name):
        part, key, value, told = payloads(marker)[name]
        checkpoint = last(stored / "task")
        checkpoint["ordo"]["config"] = poisoned(checkpoint["ordo"]["config"], part, key, value)
        torch.save(checkpoint, tmp_path / "x.ckpt")
        saved = tmp_path / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(stored / "saved", saved)
        config = json.loads((saved / "config.json").read_text())
        (saved / "config.json").write_text(json.dumps(poisoned(config, part, key, value)))
        return tmp_path / "x.ckpt", saved, told

    yield of
    assert not marker.exists(), "nothing that a file names is called or imported"
    assert "side_effect" not in sys.modules


@pytest.mark.parametrize("name", NAMES)
def test_no_payload_is_executed(name, files):
    checkpoint, saved, told = files(name)

    def evaluate():
        load_data(load(checkpoint)[1], checkpoint, as_trained=True)

    routes = {
        "eval": evaluate,
        "sample and export": lambda: OrderedModel.of_checkpoint(checkpoint),
        "from_pretrained": lambda: OrderedModel.from_pretrained(saved),
    }
    for route, use in routes.items():
        with pytest.raises((CheckpointError, ConfigError), match=told) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1, route


def refused(script, arguments, told, monkeypatch, capfd):
    status, _, err = call(script, *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status in (1, 2), (script, err)
    assert len(err.strip().splitlines()) == 1, (script, err)
    assert re.search(told, err), (script, err)


FEW = ["a resolver that makes a part", "a task"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in NAMES]
)
def test_no_payload_is_executed_by_a_command(name, files, tmp_path, monkeypatch, capfd):
    checkpoint, saved, told = files(name)
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(
        "eval.py",
        [f"checkpoint={checkpoint}", f"output={tmp_path / 'e'}"],
        told,
        monkeypatch,
        capfd,
    )
    refused(
        "scripts/export.py",
        [f"checkpoint={checkpoint}", f"out={tmp_path / 'o'}"],
        told,
        monkeypatch,
        capfd,
    )
    for source in (checkpoint, saved):
        refused(
            "scripts/sample.py",
            [f"checkpoint={source}", f"out={tmp_path / 's.txt'}"],
            told,
            monkeypatch,
            capfd,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "nothing is left behind"


PLACES = {
    "a URL": (
        {"source": "text8", "path": None, "url": "http://example.org/evil.zip"},
        "data.url=http://example.org/evil.zip",
    ),
    "a folder to fetch into": (
        {"source": "text8", "path": None, "data_dir": "elsewhere"},
        "data.data_dir=elsewhere",
    ),
    "a file": ({"path": "secrets"}, "data.path=secrets"),
    "a hub data set": (
        {
            "_target_": "ordo.data.CorpusData",
            "source": "owner/name",
            "tokenizer": "gpt2",
            "cache_dir": "data/tokens",
        },
        "data.source",
    ),
    "a cache folder": (
        {
            "_target_": "ordo.data.CorpusData",
            "source": "x",
            "tokenizer": "gpt2",
            "cache_dir": "elsewhere",
        },
        "data.cache_dir=elsewhere",
    ),
    "a tokenizer's folder": (
        {"_target_": "ordo.data.CorpusData", "source": "x", "tokenizer": "./folder"},
        "data.tokenizer=./folder",
    ),
    "a table": (
        {"_target_": "ordo.data.TableData", "path": "secrets.csv"},
        "data.path=secrets.csv",
    ),
    "test rows": (
        {"_target_": "ordo.data.TableData", "path": "x", "test_path": "secrets.csv"},
        "data.test_path=secrets.csv",
    ),
    "molecules": (
        {"_target_": "ordo.data.SmilesData", "path": "secrets.csv"},
        "data.path=secrets.csv",
    ),
    "puzzles": (
        {"_target_": "ordo.data.SudokuData", "path": "secrets.csv"},
        "data.path=secrets.csv",
    ),
    "ids": (
        {"_target_": "ordo.data.IdsData", "path": "secrets.npy"},
        "data.path=secrets.npy",
    ),
    "data of another package": ({"_target_": "side_effect.Evil"}, "data._target_=side_effect.Evil"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_checkpoint_does_not_say_where_data_lie(name, stored, tmp_path, monkeypatch):
    """Whatever it names is neither fetched nor opened."""
    changes, told = PLACES[name]
    config = last(stored / "text")["ordo"]["config"]
    config["data"] = changes if "_target_" in changes else config["data"] | changes
    (tmp_path / "side_effect.py").write_text(SIDE_EFFECT.format(str(tmp_path / "EXECUTED")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "ordo.data.module.SequenceData.__init__", lambda *_, **__: pytest.fail("data were made")
    )
    where = (
        {"path": "x"}
        if "test_path" in changes
        else {"source": "x"}
        if name.startswith(("a cache", "a tok"))
        else {}
    )
    with pytest.raises((CheckpointError, ConfigError), match=told) as caught:
        load_data(config, stored / "text", where)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "EXECUTED").exists()


def test_all_places_are_named_at_once(stored):
    config = last(stored / "text")["ordo"]["config"]
    config["data"] = {
        "_target_": "ordo.data.CorpusData",
        "source": "./x",
        "tokenizer": "./t",
        "cache_dir": "c",
    }
    with pytest.raises(
        ConfigError,
        match=r"add data.source=./x data.tokenizer=./t data.cache_dir=c, or where they lie",
    ):
        load_data(config, stored / "text")


def test_text_of_the_data_is_no_interpolation(stored):
    """Names of columns and characters stay as they are; so does a path that is thrown away."""
    config = last(stored / "text")["ordo"]["config"]
    table = {
        "_target_": "ordo.data.TableData",
        "path": "${x}.csv",
        "types": {"_id_": "drop", "${y}": "drop"},
        "missing": ["${z}"],
    }
    config["data"] = table
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        load_data(config, stored / "text", {"path": "nowhere.csv"})


def test_a_place_that_the_data_have_not(stored):
    config = load(stored / "task")[1]
    with pytest.raises(
        ConfigError, match=r"data.path=x: the data of .* are made, not read from a file"
    ):
        load_data(config, stored / "task", {"path": "x"})


def test_packages_of_ones_own(stored, tmp_path, monkeypatch):
    """trust=[mine] admits classes of mine, and nothing else."""
    (tmp_path / "mine.py").write_text(
        "from ordo.schedules import Power\nclass Own(Power):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = last(stored / "task")
    checkpoint["ordo"]["config"]["schedule"]["_target_"] = "mine.Own"
    path = tmp_path / "x.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match=r"schedule._target_=mine.Own .* add trust=\[mine\]"):
        load(path)
    assert "mine" not in sys.modules
    module, _ = load(path, ["mine"])
    assert type(module.schedule).__name__ == "Own"
    own = OrderedModel.of_checkpoint(path, trust=["mine"])
    own.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    (tmp_path / "saved" / "config.json").write_text(
        json.dumps(config | {"trust": ["mine"]})
    )  # a file cannot trust itself
    with pytest.raises(CheckpointError, match="add trust"):
        OrderedModel.from_pretrained(tmp_path / "saved")
    again = OrderedModel.from_pretrained(tmp_path / "saved", trust=["mine"])
    assert torch.equal(again.schedule.law().log_w, module.schedule.law().log_w)
    for trust, told in (
        (["ordo"], "is fixed"),
        (["a b"], "name a package"),
        (["mine."], "name a package"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(path, trust)


MALFORMED = {
    "no configuration": lambda c: c["ordo"].pop("config"),
    "a configuration that is a list": lambda c: c["ordo"].update(config=[1]),
    "a configuration without parts": lambda c: c["ordo"].update(config={"seed": 0}),
    "a state that is a list": lambda c: c.update(state_dict=[1]),
    "a state of strings": lambda c: c.update(state_dict={"denoiser.head.weight": "x"}),
    "a number that is text": lambda c: c["ordo"]["config"]["denoiser"].update(width="abc"),
    "a vocabulary of nothing": lambda c: c["TextData"].update(vocabulary=None),
    "a vocabulary of numbers": lambda c: c["TextData"].update(vocabulary=[1, 2]),
    "a tensor as a setting": lambda c: c["ordo"]["config"]["denoiser"].update(width=torch.zeros(2)),
    "a step that is text": lambda c: c.update(global_step="x"),
    "no step": lambda c: c.pop("global_step"),
    "a network as a schedule": lambda c: c["ordo"]["config"].update(
        schedule={"_target_": "ordo.schedules.FreeTable", "length": 8}
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_checkpoints(name, stored, tmp_path):
    checkpoint = last(stored / "text")
    MALFORMED[name](checkpoint)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"x\.ckpt") as caught:
        OrderedModel.of_checkpoint(tmp_path / "x.ckpt")
    assert isinstance(caught.value, CheckpointError), caught.value
    assert len(str(caught.value).splitlines()) == 1


def test_malformed_saved_models(stored, tmp_path):
    shutil.copytree(stored / "saved", tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    state = {"vocabulary": None}
    for text in (
        '{"x":' * 100_000 + "1" + "}" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[]",
        "null",
        "{",
        json.dumps(config | {"data": {"states": [1]}}),
        json.dumps(config | {"data": {"states": {"TextData": state}}}),
        json.dumps(
            config | {"data": {"states": {"TableData": {"codec": {"version": 1, "columns": [1]}}}}}
        ),
        json.dumps(config | {"data": {"states": {"CorpusData": {"tokenizer": 3}}}}),
        *(
            json.dumps(config | {"data": {"states": {name: state}}})
            for name, state in (
                ("IdsData", {}),
                ("IdsData", {"vocab_size": "x"}),
                ("RowsData", {"vocab_size": 0}),
                ("SudokuData", {"vocabulary": list("123"), "clues": [1, 2]}),
                ("SudokuData", {"vocabulary": list("1234"), "clues": [9, 4]}),
                ("SudokuData", {"vocabulary": list("1234"), "clues": [1, 16]}),
                ("SudokuData", {"vocabulary": list("1234"), "clues": [1.5, 4]}),
                ("SudokuData", {"vocabulary": list("1234"), "clues": "14"}),
            )
        ),
    ):
        path.write_text(text)
        with pytest.raises(CheckpointError) as caught:
            OrderedModel.from_pretrained(tmp_path / "saved")
        assert len(str(caught.value).splitlines()) == 1
