"""The package from outside: what an import loads, commands, names, presets, models."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import NAE, call, configuration, run

import ordo
from ordo import commands
from ordo.exporting import export
from ordo.runs.checks import check_settings
from ordo.runs.settings import Train
from ordo.runs.trainer import build_trainer
from ordo.settings import SettingError

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "lightning", "transformers", "torchmetrics", "scipy", "pandas", "matplotlib"}
LIGHT = {
    "import": "import ordo; ordo.__version__",
    "help": "sys.argv = ['ordo', 'train', '--help']; from ordo.__main__ import main",
    "typo": "sys.argv = ['ordo', 'train', 'sed=1']; from ordo.__main__ import main",
    "cfg": "sys.argv = ['ordo', 'eval', '--cfg', 'job']; from ordo.__main__ import main",
    "options": "sys.argv = ['ordo', 'collect', '-h']; from ordo.__main__ import main",
    "none": "sys.argv = ['ordo', 'trian']; from ordo.__main__ import main",
}


@pytest.mark.parametrize("name", LIGHT)
def test_what_answers_at_once_imports_nothing_that_takes_seconds(name):
    """Seconds depend on the machine; modules do not."""
    code = f"""
import sys
{LIGHT[name]}
try:
    if "main" in globals():
        main()
except SystemExit:
    pass
print("LOADED", *sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED", done.stdout[-200:] + done.stderr[-500:]


def test_names_of_the_package():
    for name in ordo.__all__:
        assert getattr(ordo, name).__module__.startswith("ordo."), name
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        ordo.fti  # noqa: B018
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "ordo-diffusion"
    assert f"version: {ordo.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {ordo.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version = {{{ordo.__version__}}}" in (ROOT / "docs" / "cite.md").read_text()


def test_the_list_of_commands(monkeypatch, capfd):
    status, out, _ = call("ordo", "--help", monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert {line.split()[0] for line in out.splitlines() if line.startswith("  ")} - {
        "ordo"
    } == modules
    status, _, err = call("ordo trian", monkeypatch=monkeypatch, capfd=capfd)
    assert (status, err) == (
        2,
        "error: ordo trian: there is no such command; did you mean ordo train?\n",
    )


def test_debug_fast_runs_every_part(tmp_path, monkeypatch, capfd):
    parts = ["debug=fast", f"output={tmp_path / 'run'}", "threads=1", "trainer.accelerator=cpu"]
    status, out, _ = call("train.py", *parts, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    assert "NELBO, own order law" in out
    for name in ("report.html", "checkpoints/best.ckpt", "samples.txt"):
        assert (tmp_path / "run" / name).is_file()


def test_debug_overfit_repeats_the_first_batch(tmp_path, monkeypatch):
    """Every step is on the batch of the first one: by the tokens that the objective sees."""
    seen = []
    step = ordo.training.OrderDiffusion.training_step

    def watched(self, batch, *others):
        seen.append(torch.as_tensor(getattr(batch, "tokens", batch)).clone())
        return step(self, batch, *others)

    monkeypatch.setattr(ordo.training.OrderDiffusion, "training_step", watched)
    run(tmp_path / "run", "debug=overfit", *NAE, "steps=5", "validate_every=5", experiment="custom")
    assert len(seen) == 5
    assert all(torch.equal(batch, seen[0]) for batch in seen)


def test_debug_profile_measures_where_time_goes(tmp_path):
    """Lightning prints the table to the stream that standard error was when it was imported."""
    trainer = build_trainer(configuration(tmp_path / "run", "debug=profile", *NAE), tmp_path)
    assert type(trainer.profiler).__name__ == "SimpleProfiler"


def test_a_mac_and_a_missing_logger_are_told(tmp_path, monkeypatch):
    config = configuration(tmp_path / "run", *NAE, "trainer.accelerator=mps")
    with pytest.raises(SettingError, match="MPS has no float64"):
        check_settings(config, Train)
    monkeypatch.setattr("ordo.runs.checks.find_spec", lambda name: None)
    config = configuration(tmp_path / "run", *NAE, "logger=tensorboard")
    with pytest.raises(ValueError, match=r"needs TensorBoard: pip install .*\[tensorboard\]"):
        check_settings(config, Train)


def test_a_model_in_half_precision(tmp_path):
    model = ordo.load(ROOT / "models" / "text8")
    export(model, tmp_path / "half", weights="float16")
    export(model, tmp_path / "whole")
    half, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("half", "whole"))
    assert half.keys() == whole.keys()
    for name, value in half.items():
        of_denoiser = name.startswith("denoiser.")
        assert value.dtype == (torch.float16 if of_denoiser else whole[name].dtype), name
        rounded = whole[name].half().float() if of_denoiser else whole[name]
        assert torch.equal(value.float(), rounded), name
    again = ordo.load(tmp_path / "half")
    assert next(again.denoiser.parameters()).dtype == torch.float32
    assert next(model.denoiser.parameters()).dtype == torch.float32, "the model stays as it was"
    with torch.no_grad():
        next(model.denoiser.parameters())[0] = 1e6
    with pytest.raises(ValueError, match="cannot hold"):
        export(model, tmp_path / "large", weights="float16")


def test_the_models_of_the_repository():
    """Small enough, and as good as their cards say: on text of Python's own, and on new puzzles."""
    for folder in (ROOT / "models").iterdir():
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2e6
    text = ordo.load(ROOT / "models" / "text8")
    tokens = torch.tensor([["_abcdefghijklmnopqrstuvwxyz".index(c) for c in piece] for piece in (
        "the_first_of_the_two_was_one_of_", "in_the_early_years_of_the_centur",
    )])  # fmt: skip
    shuffled = tokens[:, torch.randperm(32, generator=torch.Generator().manual_seed(0))]
    likely, unlikely = (text.likelihood(x).bits_per_token("own_nelbo") for x in (tokens, shuffled))
    assert likely < 2.0 < 4.0 < unlikely
    assert text.order().learned
