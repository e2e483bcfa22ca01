"""Every YAML of configs/data composes, shows every constructor argument, and gives batches."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from tiny_tokenizer import tiny_tokenizer

torch.set_num_threads(1)
CONFIGS = Path(__file__).resolve().parents[2] / "src" / "ordo" / "configs" / "data"
LETTERS = "the quick brown fox jumps over the lazy dog " * 200


def local_corpus(folder, streaming):
    """Overrides that put local documents and a local tokenizer in the place of those of the hub."""
    (folder / "text").mkdir()
    (folder / "text" / "a.jsonl").write_text(
        "".join(f'{{"text": "the fox {i} jumps over the lazy dog"}}\n' for i in range(300))
    )
    tiny_tokenizer(folder / "tokenizer")
    splits = "{train: 'train[:80%]', validation: 'train[80%:90%]', test: 'train[90%:]'}"
    if streaming:
        splits = "{train: 'train[60:]', validation: 'train[:30]', test: 'train[30:60]'}"
    return [
        f"data.source={folder / 'text'}",
        "data.config=null",
        "data.revision=null",
        f"data.tokenizer={folder / 'tokenizer'}",
        f"data.cache_dir={folder / 'cache'}",
        f"data.splits={splits}",
        "data.length=16",
        "data.begin=null",
        "data.end=eos",
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_config(name, tmp_path):
    (tmp_path / "root.yaml").write_text(
        f"defaults: [data: {name}, _self_]\nseed: 5\nhydra: "
        f"{{searchpath: ['file://{CONFIGS.parent}']}}\n"
    )
    (tmp_path / "letters").write_text(LETTERS)
    (tmp_path / "table.csv").write_text(
        "a,b\n" + "".join(f"{i / 3},{'xy'[i % 2]}\n" for i in range(400))
    )
    (tmp_path / "molecules.csv").write_text(
        "smiles\n" + "".join(f"{'C' * n}{end}\n" for n in range(1, 30) for end in ("O", "N", "F"))
    )
    np.save(tmp_path / "ids.npy", np.arange(1600).reshape(400, 4) % 7)
    files = {
        "file": "letters",
        "ids": "ids.npy",
        "text8": "letters",
        "table": "table.csv",
        "qm9_smiles": "molecules.csv",
    }
    overrides = [f"data.path={tmp_path / files[name]}"] if name in files else []
    content = (CONFIGS / f"{name}.yaml").read_text()
    if "tokenizer" in content:
        overrides = [*local_corpus(tmp_path, "streaming: true" in content), "data.num_workers=0"]
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = compose("root", overrides).data
    assert set(config) - {"_target_"} == set(
        inspect.signature(get_class(config._target_)).parameters
    )
    if "task" in config:
        fields = {field.name for field in dataclasses.fields(get_class(config.task._target_))}
        assert set(config.task) - {"_target_"} == fields
    data = instantiate(config, **({"bank": 4, "eval_size": 4} if "bank" in config else {}))
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    batch = batch if isinstance(batch, torch.Tensor) else batch[0]
    assert batch.shape == (config.batch_size, data.length)
    assert data.seed == 5
    assert data.describe()["vocab_size"] == data.vocab_size > int(batch.max())
    tokens = data.test_set.tokens[:2].long()
    assert len(data.decode(tokens)) == len(tokens)


def test_exchangeable_can_be_independent_tokens():
    """The overrides in the comment of exchangeable.yaml."""
    lines = (CONFIGS / "exchangeable.yaml").read_text().splitlines()[1:3]
    overrides = " ".join(line.removeprefix("#") for line in lines).split()
    with initialize_config_dir(str(CONFIGS.parent), version_base="1.3"):
        config = compose(overrides=["+seed=0", "+data=exchangeable", *overrides]).data
    assert instantiate(config.task).probs == (0.5, 0.3, 0.2)
