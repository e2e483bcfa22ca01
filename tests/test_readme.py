"""README: its Python blocks run, and the names it lists are the configurations that exist."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_python_blocks_run(index):
    torch.manual_seed(0)
    exec(compile(BLOCKS[index], "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("group", ["experiment", "data", "schedule", "objective", "denoiser", "sampler"])
def test_listed_choices_are_the_choices(group):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{group}=`"))
    listed = set(re.findall(r"`(\w+)`", row)) - {"_cpu"}
    existing = {path.stem.removesuffix("_cpu") for path in (ROOT / "configs" / group).glob("*.yaml")}
    assert listed == existing


def test_both_commands_are_there():
    assert len(re.findall(r"^    python3 -m venv .venv && .*", README, re.MULTILINE)) == 2
