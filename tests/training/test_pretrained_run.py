"""Whole runs that start from a language model: training, resume, eval.py, sample.py, and loading
when the model is gone.
"""

import shutil

import hydra
import pytest
import torch
from tiny_models import tiny_model
from tiny_runs import CONFIGS, NAE, QUIET, call, configuration
from tiny_tokenizer import tiny_tokenizer

from ordo.errors import ConfigError
from ordo.likelihood import nelbo
from ordo.randomness import StepRandom
from ordo.runs import load
from ordo.runs.build import build_data, build_module
from ordo.runs.run import train

TEXT = "".join(
    f'{{"text": "the quick brown fox {i} jumps over the lazy dog"}}\n' for i in range(200)
)


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # its variable is read once, at import
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))


def compose(output, folder, kind, *overrides):
    """A run in ``output`` on a text in ``folder`` from a model of ``kind`` in ``folder/kind``."""
    plan = [
        "experiment=custom",
        "name=run",
        f"output={output}",
        *QUIET,
        "data=corpus",
        f"data.source={folder / 'a.jsonl'}",
    ]
    plan += [
        f"data.tokenizer={folder / kind}",
        f"data.cache_dir={folder / 'cache'}",
        "data.length=12",
        "data.batch_size=8",
    ]
    plan += [
        "data.splits={train: 'train[:80%]', validation: 'train[80%:90%]', test: 'train[90%:]'}",
        "data.limit_eval=16",
    ]
    plan += [
        f"denoiser={'causal_lm' if kind == 'gpt2' else 'masked_lm'}",
        f"denoiser.name={folder / kind}",
        "objective=order",
    ]
    plan += [
        "schedule=power_table",
        "optimizer.schedule_delay=1",
        "steps=4",
        "checkpoint_every=2",
        "validate_every=2",
        *overrides,
    ]
    with hydra.initialize_config_dir(CONFIGS, version_base="1.3"):
        return hydra.compose("train", plan)


def prepared(folder, kind, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text(TEXT)
    return tiny_model(folder / kind, kind, std=0.05, **changes)


@pytest.mark.parametrize("kind", [pytest.param("bert", marks=pytest.mark.slow), "gpt2"])
def test_a_run(kind, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "f"
    model, _ = prepared(
        folder, kind, **({"hidden_dropout_prob": 0.1} if kind == "bert" else {"resid_pdrop": 0.1})
    )
    result = train(
        compose(tmp_path / "run", folder, kind, "callbacks=ema", "callbacks.samples=null")
    )
    denoiser = result.module.denoiser
    start = model.get_input_embeddings().weight
    moved = denoiser.model.get_input_embeddings().weight[: len(start)] - start
    assert 0 < moved.abs().max() < 0.1, "it began at the model's weights, and has learned"
    assert (result.module.schedule.law().log_w != 0).any()

    train(
        compose(
            tmp_path / "half",
            folder,
            kind,
            "callbacks=ema",
            "callbacks.samples=null",
            "steps=2",
            "optimizer.total_steps=4",
        )
    )
    settings = ["callbacks=ema", "callbacks.samples=null", f"resume={tmp_path / 'half'}"]
    resumed = train(compose(tmp_path / "resumed", folder, kind, *settings))
    for (name, a), b in zip(
        result.module.named_parameters(), resumed.module.parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    again = train(
        compose(
            tmp_path / "run", folder, kind, "callbacks=ema", "callbacks.samples=null", "resume=auto"
        )
    )
    for a, b in zip(result.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(a, b), (
            "taken up by the settings as they were given, not as the checkpoint keeps them"
        )

    shutil.move(folder / kind, tmp_path / "moved")
    module, config = load(tmp_path / "run")
    assert str(folder / kind) not in str(config["denoiser"]), "not even its name"
    tokens = result.data.val_set.tokens.long()
    assert torch.equal(module.denoiser(tokens), denoiser.eval()(tokens))
    saved = str(tmp_path / "run")
    tiny_tokenizer(folder / kind, mask=kind == "bert")  # the text is read by it
    where = [f"data.{name}={config['data'][name]}" for name in ("source", "tokenizer", "cache_dir")]
    status, _, err = call(
        "eval.py",
        f"checkpoint={saved}",
        *where,
        "sequences=8",
        "samples=2",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert status == 0, err
    out = tmp_path / "s.txt"
    settings = [
        f"checkpoint={saved}",
        f"tokenizer={folder / kind}",
        f"out={out}",
        "n=3",
        "blank='#'",
        "template='the quick# fox#'",
    ]
    status, _, err = call("ordo sample", *settings, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    assert out.read_text().count("the quick") >= 3


def test_it_learns(tmp_path):
    """The NELBO of eight sequences under the model's own law falls to less than half."""
    prepared(tmp_path, "gpt2")
    config = compose(tmp_path / "run", tmp_path, "gpt2")
    tokens = next(iter(build_data(config).train_dataloader()))
    module = build_module(config)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)

    def bound():
        return (
            nelbo(module.denoiser, module.schedule.law(), tokens, 8, StepRandom(seed=9))
            .mean()
            .item()
        )

    start = bound()
    for step in range(60):
        optimizer.zero_grad()
        module.objective(
            module.denoiser, module.schedule, tokens, StepRandom(step=step)
        ).loss.backward()
        optimizer.step()
    assert bound() < 0.5 * start


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("objective", ["time", "order", "dense"])
def test_objectives(objective, kind, tmp_path):
    """Finite gradients in all parameters; objectives that need an order-causal denoiser say so."""
    prepared(tmp_path, kind)
    config = compose(
        tmp_path / "run", tmp_path, kind, f"objective={objective}", "schedule=power_network"
    )
    tokens = next(iter(build_data(config).train_dataloader()))
    if objective.startswith("dense"):
        with pytest.raises(ConfigError, match="needs an order-causal denoiser"):
            build_module(config)
        return
    module = build_module(config)
    module.objective(module.denoiser, module.schedule, tokens, StepRandom()).loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_errors_are_one_line(tmp_path):
    prepared(tmp_path, "bert")
    tiny_tokenizer(tmp_path / "other", vocab_size=280)
    for overrides, told in (
        (
            ["data.length=40"],
            r"'denoiser' .*length=40: the model has 34 positions; use data.length=34 or less",
        ),
        (
            [f"data.tokenizer={tmp_path / 'other'}"],
            "the data have 280 token ids, the tokenizer of .*bert has 290",
        ),
        (["denoiser.name=somebody/nothing"], "no tokenizer 'somebody/nothing'"),
        (
            ["+denoiser.width=3"],
            "denoiser.width=3: there is no such setting; .*from_masked_lm takes name, vocab_size",
        ),
    ):
        config = compose(tmp_path / "run", tmp_path, "bert", *overrides)
        build_data(config)
        with pytest.raises(ConfigError, match=told) as caught:
            build_module(config)
        assert len(str(caught.value).splitlines()) == 1
    config = compose(tmp_path / "run", tmp_path, "bert")
    config.data = configuration(tmp_path / "run", *NAE).data
    build_data(config)
    with pytest.raises(
        ConfigError,
        match=r"the data have 2 token ids, the tokenizer of .* has 290; use data=corpus",
    ):
        build_module(config)
