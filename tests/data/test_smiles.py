"""Molecules as SMILES: tokens, splits, the end as a token, and what is said of unfit files."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from ordo.data import ChecksumError, DataError, MissingDataError, SmilesData, tokenise
from ordo.data.decoding import Decoding
from ordo.data.text.smiles import END, QM9_MD5, SmilesVocabulary, read_smiles
from ordo.settings import SettingError

QM9 = Path(__file__).resolve().parents[3] / "shared" / "data" / "molecules" / "qm9_smiles.csv"
# 100 of 1 to 12 tokens
MOLECULES = ["C" * a + "O" * b + "N" * c for a in range(1, 6) for b in range(4) for c in range(5)]


def of(folder, molecules=MOLECULES, name="m.csv", **arguments):
    path = folder / name
    path.write_text(
        "\n".join(
            ["id,smiles", *(f"{i},{m}" for i, m in enumerate(molecules))]
            if name.endswith("csv")
            else molecules
        )
        + "\n"
    )
    data = SmilesData(str(path), **{"batch_size": 10, "split": (0.8, 0.1, 0.1), **arguments})
    data.setup()
    return data


def every(data):
    return [molecule for mine in data.smiles.values() for molecule in mine]


@pytest.mark.parametrize(
    ("smiles", "tokens"),
    [
        ("CCO", "C C O"),
        ("ClCBr", "Cl C Br"),
        ("c1c[nH]cc1", "c 1 c [nH] c c 1"),
        ("C[C@@H](N)C(=O)[O-]", "C [C@@H] ( N ) C ( = O ) [O-]"),
        ("C%12CC%12C1", "C %12 C C %12 C 1"),
        (r"F/C=C\F", "F / C = C \\ F"),
        ("[NH3+].[Cl-]", "[NH3+] . [Cl-]"),
        ("CC]C[", "C C ] C ["),
    ],
)
def test_tokens(smiles, tokens):
    assert tokenise(smiles) == tokens.split(" ")


@pytest.mark.parametrize("smiles", ["C C", "C\tC", "CÖ", "C[N H]Ω"])
def test_what_is_no_smiles(smiles):
    with pytest.raises(DataError, match="white space or a character that is not ASCII"):
        tokenise(smiles)


def test_rows_are_molecules_and_then_the_end(tmp_path):
    data = of(tmp_path)
    assert (data.length, data.vocab_size, data.vocabulary.symbols) == (12, 4, (END, "C", "N", "O"))
    assert {name: len(mine) for name, mine in data.smiles.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert sorted(every(data)) == sorted(MOLECULES), "every molecule is in one split"
    for rows, mine in (
        (data.val_set, data.smiles["validation"]),
        (data.test_set, data.smiles["test"]),
    ):
        for row, molecule in zip(rows.tokens.tolist(), mine, strict=True):
            assert row == ["·CNO".index(c) for c in molecule] + [0] * (12 - len(molecule))
        assert rows.lengths is None, "nothing but the tokens says how long a molecule is"
    epoch = torch.cat(list(data.train_dataloader()))
    assert sorted(data.decode(epoch)) == sorted(data.smiles["train"])
    described = json.loads(json.dumps(data.describe()))
    assert described["md5"] == hashlib.md5(data.file.read_bytes()).hexdigest()
    assert (described["duplicates"], described["sequences"]["train"]) == (0, 80)


def test_an_end_within_is_shown_and_the_mask_too():
    vocabulary = SmilesVocabulary.of([["C", "[nH]"]])
    assert vocabulary.decode(
        torch.tensor([[1, 2, 0, 0], [0, 1, 0, 2], [1, 3, 3, 0], [0, 0, 0, 0]])
    ) == ["C[nH]", "·C·[nH]", "C__", ""]
    for bad in (-1, 4):
        with pytest.raises(DataError, match=r"0\.\.3"):
            vocabulary.decode(torch.tensor([[bad]]))


def test_the_split_is_of_its_own_seed_alone(tmp_path):
    first, again, other = (
        of(tmp_path, seed=seed, split_seed=split).smiles["test"]
        for seed, split in ((0, 0), (1, 0), (0, 1))
    )
    assert first == again
    assert first != other
    few = of(tmp_path, limit_eval=3)
    assert (few.smiles["test"], len(few.smiles["train"])) == (first[:3], 80)
    assert few.decode(few.test_set.tokens) == first[:3]
    assert few.length == 12, "of all molecules, whatever is scored"


def test_strings_that_occur_twice_are_used_once(tmp_path):
    data = of(tmp_path, MOLECULES + MOLECULES[:7])
    assert data.describe()["duplicates"] == 7
    assert sorted(every(data)) == sorted(MOLECULES)


def test_other_files_and_lengths(tmp_path):
    data = of(
        tmp_path,
        ["", *(f"{m} name-{i}" for i, m in enumerate(MOLECULES)), " "],
        name="m.smi",
        length=15,
    )
    assert sorted(every(data)) == sorted(MOLECULES)
    assert data.test_set.tokens.shape == (10, 15)
    (tmp_path / "other.csv").write_text('a,SMILES\n1,"C(C)"\n')
    assert read_smiles(tmp_path / "other.csv", "SMILES") == ["C(C)"]
    (tmp_path / "marked.csv").write_text("\ufeffsmiles\nCC\n", encoding="utf-8")
    assert read_smiles(tmp_path / "marked.csv", "smiles") == ["CC"], (
        "a byte-order mark is no part of the name"
    )
    (tmp_path / "packed.csv").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(DataError, match=r"packed.csv is not UTF-8 text .* at byte 1\)"):
        read_smiles(tmp_path / "packed.csv", "smiles")


def test_what_a_checkpoint_keeps(tmp_path):
    data = of(tmp_path)
    data.load_state_dict(data.state_dict())
    with pytest.raises(DataError, match=r"the 5 tokens · C F N O, these data have the 4 · C N O"):
        data.load_state_dict({"vocabulary": [END, "C", "F", "N", "O"]})
    decoding = Decoding({"SmilesData": data.state_dict()})
    tokens = torch.tensor([[1, 2, 0, 3, 0, 4]])
    assert decoding(tokens[:, :5]) == ["CN·O"]
    assert decoding.symbols(tokens) == [["C", "N", END, "O", END]]
    assert decoding.vocabulary is None, "templates are of single characters"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": (0.9, 0.1)}, "must be a list of 3"),
        ({"split": (0.9, 0.2, 0.1)}, "sum to 1"),
        ({"length": 0}, "length=0: must be a whole number from 1"),
        ({"limit_eval": 0}, "limit_eval=0: must be a whole number from 1"),
        ({"batch_size": 0}, "batch_size=0: must be a whole number from 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((DataError, SettingError), match=message):
        SmilesData("m.csv", **arguments)


def test_unfit_files(tmp_path):
    with pytest.raises(
        MissingDataError,
        match=r"no such file: .*q\.csv.*data\.path=FILE.*curl -L -o .*q\.csv https://.*/qm9\.csv",
    ):
        SmilesData(str(tmp_path / "q.csv")).setup()
    with pytest.raises(ChecksumError, match=f"expected {'0' * 32}"):
        of(tmp_path, md5="0" * 32)
    with pytest.raises(
        DataError, match=r"no column 'SMILES' but \['id', 'smiles'\]; set data\.column"
    ):
        of(tmp_path, column="SMILES")
    with pytest.raises(DataError, match=r"row 2: the column 'smiles' is empty"):
        of(tmp_path, ["C", "", "CC"])
    with pytest.raises(DataError, match="holds no molecules"):
        of(tmp_path, [])
    with pytest.raises(DataError, match="has 2 molecules, too few"):
        of(tmp_path, ["C", "CC"])
    with pytest.raises(DataError, match=r"has 12 tokens, more than length=11; set data\.length"):
        of(tmp_path, length=11)


def test_a_token_that_training_has_not(tmp_path):
    test = of(tmp_path).smiles["test"][0]
    molecules = [m if m != test else "C[nH]" for m in MOLECULES]
    with pytest.raises(
        DataError,
        match=r"test split: 'C\[nH\]' has the token '\[nH\]', which no training molecule has.*"
        "split_seed",
    ):
        of(tmp_path, molecules)
    with pytest.raises(DataError, match=r"'\[nH\]'"):  # also where the molecule would not be scored
        of(
            tmp_path,
            [m if m != of(tmp_path).smiles["test"][-1] else "C[nH]" for m in MOLECULES],
            limit_eval=1,
        )


@pytest.mark.skipif(not QM9.exists(), reason="the optional file of QM9 is not there")
def test_qm9():
    """Every line comes back from its tokens; with default settings no split has its own token."""
    lines = QM9.read_text().split()[1:]
    assert all("".join(tokenise(line)) == line for line in lines)
    data = SmilesData(str(QM9), md5=QM9_MD5, limit_eval=2048)
    data.setup()
    assert (data.length, data.vocab_size, data.duplicates) == (23, 47, 0)
    assert data.describe()["sequences"] == {"train": 120236, "validation": 2048, "test": 2048}
    assert set(data.decode(data.train_rows(0, 1).tokens)) == set(data.smiles["train"]) <= set(lines)
