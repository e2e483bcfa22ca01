"""Notebooks: committed with assertions, and with the outputs of one run from top to bottom.

The build of the documentation runs every cell, without a warning. After a change the outputs are
made anew by ``nbclient.NotebookClient(notebook, record_timing=False).execute()``.
"""

import ast
import re
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


BYTES = 300_000  # a notebook, with its pictures
# Folders of a machine, and addresses of objects.
OF_A_MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|work|Users|usr|opt)/|[A-Z]:\\|0x[0-9a-f]{8}")


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


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_stored_and_small(name):
    """A code host shows the pictures; nothing in the outputs is of the machine that made them."""
    assert (FOLDER / f"{name}.ipynb").stat().st_size < BYTES
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    for output in outputs:
        assert output.output_type in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr", output.text
        texts = [value for kind, value in output.get("data", {}).items() if kind != "image/png"]
        for text in (output.get("text", ""), *texts):
            assert not (found := OF_A_MACHINE.search(text)), found


def test_what_is_of_a_machine():
    for text in ("File /home/me/x.py", "at C:\\Users", "<Thing at 0x7f3a2b1c>", "'/tmp/a'"):
        assert OF_A_MACHINE.search(text), text
    for text in ("nats/row", "a/b", "x/usr/y", "0x7f", "https://example.org/home/"):
        assert not OF_A_MACHINE.search(text), text


@pytest.mark.parametrize("name", NAMES)
def test_claims_are_asserted(name):
    cells = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    trees = [
        ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))
        for source in cells
    ]
    assert sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)) >= 8
