"""Notebooks: committed clean and with assertions.

The build of the documentation runs every cell, without a warning.
"""

import ast
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = [
    "1_theory_in_pictures",
    "2_train_and_inspect",
    "3_your_own_table",
    "4_samplers_on_an_oracle",
    "5_your_own_schedule",
    "6_your_own_ids_and_network",
]


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def test_these_are_all():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_committed_clean(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {name[0]}. ")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("name", NAMES)
def test_claims_are_asserted(name):
    cells = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    trees = [
        ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))
        for source in cells
    ]
    assert sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)) >= 8
