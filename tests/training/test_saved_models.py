"""Saved models: the same numbers after a round trip, tables and texts decoded, nothing executed,
clear errors.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from tiny_runs import NAE, QUIET, call, configuration, last, run, text_overrides
from tiny_tokenizer import tiny_tokenizer

from ordo.data import DataError, TableCodec
from ordo.likelihood import order_log_prob
from ordo.runs import CheckpointError, load
from ordo.runs.run import train
from ordo.samplers import ByLaw, Sampler, sample
from ordo.saved import OrderedModel, open_model

STEPS = ["steps=4", "checkpoint_every=2", "validate_every=2", *QUIET]
CORPUS = "".join(
    f'{{"text": "the quick brown fox {i} jumps over the lazy dog"}}\n' for i in range(200)
)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("ordo.plots.save", lambda figure, path: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))


def text(folder):
    return run(
        folder / "run", *text_overrides(folder), *STEPS, "callbacks=ema", "callbacks.samples=null"
    )


def nae(folder):
    return run(folder / "run", *NAE, *STEPS, "schedule=power_table", "objective=order")


def heads(folder):
    parts = [
        "schedule=per_context_shared",
        "objective=order",
        "denoiser=bidirectional",
        "schedule.reverse_network.init_std=2.0",
    ]
    return run(folder / "run", *NAE, *STEPS, *parts)


def table(folder):
    random = np.random.default_rng(0)
    columns = {
        "age": random.integers(20, 60, 200),
        "city": random.choice(["x", "y, z", "01"], 200),
        "gain": random.lognormal(size=200),
    }
    pd.DataFrame(columns).to_csv(folder / "t.csv", index=False)
    parts = [
        "data=table",
        f"data.path={folder / 't.csv'}",
        "data.bins=16",
        "denoiser=table_causal",
        "schedule=power_table",
    ]
    return run(folder / "run", *parts, *STEPS)


def language_model(folder, kind="gpt2"):
    (folder / "a.jsonl").write_text(CORPUS)
    tiny_model(folder / "model", kind)
    tiny_tokenizer(folder / "tokenizer", mask=kind == "bert")
    plan = [
        "data=corpus",
        f"data.source={folder / 'a.jsonl'}",
        f"data.tokenizer={folder / 'tokenizer'}",
        f"data.cache_dir={folder / 'c'}",
    ]
    plan += [
        "data.splits={train: 'train[:80%]', validation: 'train[80%:90%]', test: 'train[90%:]'}",
        "data.length=12",
    ]
    plan += [
        "data.batch_size=8",
        "objective=order",
        "denoiser=causal_lm",
        f"denoiser.name={folder / 'model'}",
    ]
    result = train(configuration(folder / "run", *plan, *STEPS, small=[]))
    shutil.rmtree(folder / "model")
    return result


@pytest.mark.parametrize("make", [text, nae, heads, table, language_model])
def test_round_trip(make, tmp_path):
    """Folder and checkpoint are one model: logits, order law, samples and what they say."""
    result = make(tmp_path)
    own = OrderedModel.of_checkpoint(tmp_path / "run")
    own.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    shutil.move(tmp_path / "run", tmp_path / "gone")
    folder = str(tmp_path / "tokenizer") if make is language_model else None
    if folder is not None:
        with pytest.raises(
            DataError, match=f"a file may not say what is read here: give tokenizer={folder}"
        ):
            open_model(tmp_path / "saved").decode(result.data.val_set.tokens[:1])
    again = open_model(tmp_path / "saved", tokenizer=folder)
    trained = result.module.eval()
    assert not again.training
    for name, value in trained.denoiser.state_dict().items():
        assert torch.equal(value, again.denoiser.state_dict()[name]), name
    tokens = result.data.val_set.tokens[:4].long()
    order = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)).argsort(-1)
    n = torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        assert torch.equal(
            again.denoiser.conditionals(tokens, order, n),
            trained.denoiser.conditionals(tokens, order, n),
        )
        law, want = (
            m.schedule.law(tokens) if make is heads else m.schedule.law() for m in (again, trained)
        )
        assert torch.equal(law.log_w, want.log_w)
    sampler = Sampler(ByLaw()) if make is heads else Sampler()
    drawn, wanted = (
        sample(m.denoiser, sampler, 4, schedule=m.schedule, seed=3) for m in (again, trained)
    )
    assert torch.equal(drawn.tokens, wanted.tokens)
    assert torch.equal(drawn.rank, wanted.rank)
    if make is table:
        codec = TableCodec.from_state_dict(last(tmp_path / "gone")["TableData"]["codec"])
        pd.testing.assert_frame_equal(
            again.decode(drawn.tokens, seed=2),
            codec.decode(wanted.tokens, seed=2),
            check_exact=True,
        )
    else:
        assert again.decode(drawn.tokens) == result.data.decode(wanted.tokens)
    again.save_pretrained(tmp_path / "twice")
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "twice" / name).read_bytes() == (
            tmp_path / "saved" / name
        ).read_bytes(), name


def test_by_hand_and_trained_on(tmp_path):
    """Made in a notebook, trained, saved; what was saved can be trained on."""
    parts = {
        "denoiser": {
            "_target_": "ordo.denoisers.OrderCausalTransformer",
            "vocab_size": 5,
            "length": 4,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
        "schedule": {
            "_target_": "ordo.schedules.Power",
            "length": 4,
            "network": {"_target_": "ordo.schedules.FreeTable", "length": 4},
        },
    }
    torch.manual_seed(1)
    model = OrderedModel(**parts)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(tmp_path / "m")
    again = OrderedModel.from_pretrained(tmp_path / "m")
    tokens, order = torch.randint(0, 5, (3, 4)), torch.rand(3, 4).argsort(-1)
    model.eval()
    assert torch.equal(
        order_log_prob(again.denoiser, tokens, order), order_log_prob(model.denoiser, tokens, order)
    )
    assert torch.equal(again.schedule.law().log_w, model.schedule.law().log_w)
    again.requires_grad_(True)
    again.denoiser.order_log_prob(tokens, order).sum().backward()
    assert all(p.grad is not None for p in again.denoiser.parameters())
    with pytest.raises(ValueError, match="saved without a word on its data"):
        again.decode(tokens)
    parts["schedule"]["length"] = parts["schedule"]["network"]["length"] = 6
    with pytest.raises(ValueError, match="the schedule has 6 positions, the denoiser 4"):
        OrderedModel(**parts)


def test_scripts(tmp_path, monkeypatch, capfd):
    """export.py writes what sample.py reads: the same table as from the checkpoint; one line for
    every mistake.
    """
    table(tmp_path)

    def script(name, *arguments):
        return call(f"ordo {name}", *arguments, monkeypatch=monkeypatch, capfd=capfd)

    status, _, err = script(
        "export", f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 'm' / 'saved'}"
    )
    assert status == 0, err
    for name, source in (("a", tmp_path / "run"), ("b", tmp_path / "m" / "saved")):
        settings = ["n=20", "seed=4", "+given.city=x", "log_prob=true"]
        status, _, err = script(
            "sample", f"checkpoint={source}", f"out={tmp_path / f'{name}.csv'}", *settings
        )
        assert status == 0, err
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    for arguments, told in (
        ([f"checkpoint={tmp_path / 'run'}"], "no out given"),
        (
            [f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 'm'}"],
            "is there already; name a new folder",
        ),
        ([f"checkpoint={tmp_path / 'none'}", f"out={tmp_path / 'x'}"], "no checkpoint at"),
        ([f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 'a.csv' / 'x'}"], "is not a folder"),
    ):
        status, _, err = script("export", *arguments)
        assert status in (1, 2)
        assert told in err
        assert len(err.strip().splitlines()) == 1
    settings = [
        f"checkpoint={tmp_path / 'm' / 'saved'}",
        f"out={tmp_path / 'c.csv'}",
        "sampler=best_steps",
    ]
    status, _, err = script("sample", *settings)
    assert status in (1, 2)
    assert "give sampler.how_many.profile" in err
    assert not list(tmp_path.glob("**/.partial*"))


def test_averaged_weights(tmp_path):
    text(tmp_path)
    module, _ = load(tmp_path / "run")
    current = last(tmp_path / "run")["current_model_state"]
    saved = OrderedModel.of_checkpoint(tmp_path / "run").denoiser.state_dict()
    assert all(
        torch.equal(saved[name], value) for name, value in module.denoiser.state_dict().items()
    )
    assert any(not torch.equal(saved[name], current[f"denoiser.{name}"]) for name in saved), (
        "not those of the last step"
    )


def test_errors(tmp_path):
    table(tmp_path)
    whole = tmp_path / "whole"
    OrderedModel.of_checkpoint(tmp_path / "run").save_pretrained(whole)
    config = json.loads((whole / "config.json").read_text())
    weights = load_file(whole / "model.safetensors")
    name = next(iter(weights))

    def damaged(change):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        change(folder)
        return folder

    def configured(**changes):
        return lambda folder: (folder / "config.json").write_text(json.dumps(config | changes))

    def weighted(state):
        return lambda folder: save_file(state, folder / "model.safetensors")

    hostile = {"_target_": "os.mkdir", "path": str(tmp_path / "EXECUTED")}
    for change, told in (
        (lambda folder: (folder / "config.json").unlink(), "holds no model saved by ordo"),
        (lambda folder: (folder / "config.json").write_text("{"), "no saved model of ordo at"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "holds no model saved by ordo",
        ),
        (configured(ordo=9), "format 1"),
        (configured(schedule=3), "holds no model saved by ordo"),
        (
            configured(denoiser=hostile),
            "denoiser._target_=os.mkdir is no denoiser of ordo that a file may name",
        ),
        (
            configured(schedule=config["schedule"] | {"network": hostile}),
            "schedule.network._target_=os.mkdir is no schedule",
        ),
        (configured(data={"task": hostile}), "data.task._target_=os.mkdir is no task"),
        (
            configured(schedule={"_target_": "no.such.Schedule"}),
            r"no.such.Schedule is no schedule .* add trust=\[no\]",
        ),
        (
            configured(denoiser=config["denoiser"] | {"width": 15}),
            "does not describe a model .*width 15",
        ),
        (
            configured(denoiser=config["denoiser"] | {"width": 32}),
            "model.safetensors does not fit config.json: size mismatch for",
        ),
        (
            configured(denoiser=config["denoiser"] | {"layers": 2}),
            "does not fit config.json: tensor denoiser.blocks.1.* is missing",
        ),
        (weighted(weights | {"more": torch.zeros(2)}), "tensor more is unknown"),
        (
            weighted({key: value for key, value in weights.items() if key != name}),
            f"tensor {name} is missing",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100),
            "model.safetensors cannot be read",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "model.safetensors cannot be read",
        ),
    ):
        folder = damaged(change)
        with pytest.raises(CheckpointError, match=told) as caught:
            OrderedModel.from_pretrained(folder)
        assert len(str(caught.value).splitlines()) == 1
    for missing in (tmp_path / "none", "somebody/nothing"):
        with pytest.raises(CheckpointError, match="no saved model of ordo at"):
            OrderedModel.from_pretrained(missing)
    assert not (tmp_path / "EXECUTED").exists()
