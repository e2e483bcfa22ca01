"""Validity, uniqueness and novelty of molecules, on strings whose answer is known."""

import sys

import pytest
import torch

from ordo.data import SmilesData
from ordo.data.module import Rows
from ordo.metrics import canonical, has_rdkit, molecule_quality, string_quality
from ordo.samplers import Trace
from ordo.training import MoleculeQuality

needs_rdkit = pytest.mark.skipif(not has_rdkit(), reason="RDKit is an extra: '.[molecules]'")


def trace(tokens):
    zeros = torch.zeros_like(tokens)
    return Trace(tokens, zeros, zeros, zeros.double(), zeros, zeros[:, 0])


def test_strings():
    assert string_quality(["C", "C", "CC", "x"], {"C", "CCC"}) == {
        "distinct_strings": 0.75,
        "strings_not_in_train": 2 / 3,
    }


def test_without_rdkit(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"pip install -c constraints.txt -e '\.\[molecules\]'"):
        canonical(["C"])


@needs_rdkit
@pytest.mark.parametrize(
    ("smiles", "why"),
    [
        ("", "no atoms"),
        ("C1CC", "a ring that is not closed"),
        ("C(C", "a branch that is not closed"),
        ("C(C)(C)(C)(C)C", "five bonds of a carbon"),
        ("O=O=O", "four bonds of an oxygen"),
        ("FF=F", "a fluorine of three"),
        ("c1cccc1", "five aromatic carbons, no way to alternate"),
        ("C=", "a bond to nothing"),
        ("C·C", "an end within"),
        ("C_", "a mask"),
        ("CC C", "a molecule and a name to RDKit"),
        ("[C", "half a bracket"),
    ],
)
def test_no_molecule(smiles, why):
    assert canonical([smiles]) == [None], why


@needs_rdkit
def test_molecules_have_one_name(capfd):
    same = [
        ("OCC", "CCO"),
        ("C1=CC=CC=C1", "c1ccccc1"),
        ("C(C)(=O)O", "CC(=O)O"),
        ("N#C", "C#N"),
        ("C.O", "O.C"),
    ]
    for a, b in same:
        first, second = canonical([a, b])
        assert first == second is not None
    assert len(set(canonical(["CCO", "COC", "CC=O", "C[CH]O", "CC[O-]"]))) == 5
    canonical(["C1CC"])
    assert capfd.readouterr().err == "", "RDKit's words on every string are kept back"


@needs_rdkit
def test_shares_by_hand():
    # Six of eight are valid. Ethanol is there three times, so four differ; ethanol and methane are
    # in the training set.
    samples = ["CCO", "OCC", "C(O)C", "C", "CC", "COC", "C1CC", "C·C"]
    train = set(canonical(["OCC", "C", "c1ccccc1"]))
    assert molecule_quality(samples, train) == {
        "valid": 6 / 8,
        "unique": 4 / 6,
        "novel": 2 / 4,
        "valid_unique_novel": 2 / 8,
    }
    assert molecule_quality(["C1"], train) == {"valid": 0.0, "valid_unique_novel": 0.0}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "m.smi").write_text(
        "".join(f"{'C' * n}{end}\n" for n in range(1, 40) for end in ("O", "N", "F"))
    )
    data = SmilesData(str(tmp_path / "m.smi"))
    data.setup()
    return data


def samples(data):
    """A hundred: 40 a training molecule written backwards, 30 a new one, 30 no molecule."""
    known = next(m for m in data.smiles["train"] if m.endswith("O"))[::-1]
    new, wrong = "OO" + "C", "FFF"
    rows = data.vocabulary.encode(
        [[*m] for m in [known] * 40 + [new] * 30 + [wrong] * 30], data.length, "samples"
    )
    return trace(rows.long())


@needs_rdkit
def test_in_a_report(data):
    found = MoleculeQuality()(samples(data), data.test_set, data)
    expected = {"valid": 0.7, "unique": 2 / 70, "novel": 0.5, "valid_unique_novel": 0.01}
    assert found == pytest.approx(
        expected | {"distinct_strings": 0.03, "strings_not_in_train": 1.0}
    )
    few = trace(samples(data).tokens[:99])
    assert MoleculeQuality()(few, data.test_set, data) == {}, "too few to say anything"
    assert MoleculeQuality()(samples(data), Rows(data.test_set.tokens), object()) == {}, (
        "of molecules only"
    )


def test_in_a_report_without_rdkit(data, monkeypatch, capfd):
    monkeypatch.setattr("ordo.training.quality.has_rdkit", lambda: False)
    found = MoleculeQuality()(samples(data), data.test_set, data)
    assert found == pytest.approx({"distinct_strings": 0.03, "strings_not_in_train": 1.0})
    assert ".[molecules]" in capfd.readouterr().err
