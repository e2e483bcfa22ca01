"""Pages of benchmarks/: every recorded command can be given again, every study has its page."""

import importlib.util
import re
import shlex

import pytest
from tiny_runs import ROOT

from benchmarks.common import seeds_of

PAGES = sorted((ROOT / "benchmarks").glob("*.md"))
COMMAND = r"^ {4}python scripts/benchmark.py ((?:.*\\\n)*.*)$"
FILES = ["text8.head", "input.txt", "sudoku_test.csv", "qm9_smiles.csv", "FILE", "FOLDER/adult/x"]


def recorded():
    """(page, arguments) of every command of scripts/benchmark.py on the pages."""
    for page in PAGES:
        for found in re.findall(COMMAND, page.read_text(encoding="utf-8"), re.MULTILINE):
            words = re.sub(r"\\\n\s*", " ", found)
            yield page.name, re.sub(r"\s+#.*", "", words)


@pytest.fixture(scope="module")
def parts():
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "scripts" / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return *module.make_parser(), module.NAMES


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("page", "words"), list(recorded()))
def test_a_recorded_command_can_be_given_again(page, words, parts):
    parser, studies, _ = parts
    a = parser.parse_args(shlex.split(words))
    study = studies[a.benchmark]
    if hasattr(study, "flag"):
        seeds = seeds_of(getattr(a, study.flag), study.kinds, a.seeds, study.seeds)
        for kind in seeds:
            assert study.define_run(kind, 0, a)[0]


def test_every_study_has_a_page_and_every_page_is_listed(parts):
    pages = {page.stem for page in PAGES}
    assert set(parts[2]) <= pages
    index = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == pages - {"README"}
    assert "not yet measured on a GPU" in index


def test_lines_of_pages_are_short():
    """Only rows of tables are longer."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 100 or line.startswith("|"), (page.name, line)
