"""Molecules as SMILES strings, token by token, with the end as a token of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ordo.data.download import by_hand, check_md5
from ordo.data.errors import DataError, MissingDataError
from ordo.data.loader import State, data_generator
from ordo.data.module import SPLITS, Rows, SequenceData
from ordo.data.tables.csv_file import other_delimiter, shown, split
from ordo.data.tasks.law import require
from ordo.data.text.characters import Shares, check_shares, split_bounds
from ordo.settings import Seed, Size, Some, Text, checked

QM9_URL = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/qm9.csv"
# Numbers were measured on this file: 133,595 SMILES, canonical, no stereo marks.
QM9_MD5 = "601171d75436ec413ad916f4f5b37eba"
END, MASK = "·", "_"  # as shown; neither is a character of SMILES
# A bracket atom, a ring bond of two digits, an atom of two letters, or any other character.
TOKEN = re.compile(r"\[[^\[\]]*\]|%[0-9]{2}|Br|Cl|[!-~]")


def tokenise(smiles: str) -> list[str]:
    """Atoms, bonds, brackets of branches and ring bonds, in order; joined they are the string.

    A bracket atom such as [nH] is one token, so a model can neither leave a bracket open nor put
    nonsense into one. Raises DataError for white space or a character that is not ASCII.
    """
    tokens = TOKEN.findall(smiles)
    if "".join(tokens) != smiles:
        raise DataError(
            f"{smiles!r} is not a SMILES: it has white space or a character that is not ASCII"
        )
    return tokens


@dataclass(frozen=True)
class SmilesVocabulary:
    """Tokens in the order of their ids: END comes first. The mask, of id V, is shown as ``_``."""

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, molecules: Sequence[Sequence[str]]) -> SmilesVocabulary:
        """The distinct tokens of molecules, sorted."""
        return cls((END, *sorted({token for molecule in molecules for token in molecule})))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, molecules: Sequence[Sequence[str]], length: int, name: str) -> Tensor:
        """Rows (n, length) int16 of token ids, with END after a molecule's last token.

        name: where the molecules come from, for messages. Raises DataError for the first molecule
        that is too long or has a token outside the vocabulary.
        """
        ids = {token: i for i, token in enumerate(self.symbols)}
        rows = []
        for molecule in molecules:
            shown = "".join(molecule)
            if len(molecule) > length:
                raise DataError(
                    f"{name}: {shown!r} has {len(molecule)} tokens, more than length={length}; set "
                    "data.length to at least that"
                )
            unknown = [token for token in molecule if token not in ids]
            if unknown:
                raise DataError(
                    f"{name}: {shown!r} has the token {unknown[0]!r}, which no training molecule "
                    "has, so that every model gives it "
                    "probability 0; choose another data.split_seed, or a larger training split, or "
                    "take the molecule out"
                )
            rows.append([ids[token] for token in molecule] + [0] * (length - len(molecule)))
        return torch.tensor(rows, dtype=torch.int16)

    def decode(self, tokens: Tensor) -> list[str]:
        """Rows (n, length) as n strings, without the END tokens at their end.

        An END before other tokens is shown as ``·``: such a row is no molecule. The mask is shown
        as ``_``. Raises DataError for an id below 0 or above V.
        """
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) <= len(self)):
            raise DataError(
                f"token ids must be in 0..{len(self)} (the last is the mask), got one outside"
            )
        symbols = (*self.symbols, MASK)
        return ["".join(symbols[token] for token in row).rstrip(END) for row in tokens.tolist()]


def read_smiles(file: Path, column: str) -> list[str]:
    """The molecules of a file: a column of a CSV file, else the first word of every line.

    Blank lines are skipped. Raises DataError for a file that is no UTF-8 text, lacks the column,
    has an empty cell there, or has no molecules.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); unpack it, or "
            "convert it to UTF-8"
        ) from None
    if file.suffix.lower() != ".csv":
        molecules = [line.split()[0] for line in text.splitlines() if line.strip()]
    else:
        heading, *rows = [row for row in split(text, ",", str(file))[0] if row] or [[]]
        other = other_delimiter(text, ",") if len(heading) == 1 else None
        mend = (
            "set data.column"
            if other is None
            else f"write the file with commas between its cells, not with {shown(other[0])}"
        )
        require(column in heading, f"{file} has no column {column!r} but {heading}; {mend}")
        require(
            heading.count(column) == 1, f"{file} has several columns {column!r}; rename all but one"
        )
        at = heading.index(column)
        molecules = [row[at] if at < len(row) else "" for row in rows]
        require(
            all(molecules),
            f"{file}, row {molecules.index('') + 1 if '' in molecules else 0}: the column "
            f"{column!r} is empty",
        )
    require(bool(molecules), f"{file} holds no molecules")
    return molecules


@checked
class SmilesData(SequenceData):
    """Molecules of a file, in a random split that depends on ``split_seed`` alone.

    A sequence is a molecule's tokens (``tokenise``) and then END up to ``length``. END is a token
    like any other: masked, decoded and scored. So a model chooses how long its molecules are, and
    when in its order it decides so. (``lengths`` in the batches would give the length away, and ask
    the sampler for it.) Sequences and SMILES strings correspond one to one, so a model's nats per
    sequence are nats per molecule: -log p of the string with its length. Probability that a model
    gives to sequences with END before other tokens is lost.

    Single characters would do too (QM9 has up to 33 of them, and up to 23 tokens). Tokens need
    fewer calls of a denoiser, and keep the inside of brackets right.

    Strings that occur twice are used once, so that no string is both trained on and tested. QM9 is
    the part of GDB-17, an enumeration of small molecules, with up to nine atoms of C, N, O and F
    beside hydrogen (Ramakrishnan et al. 2014, Quantum chemistry structures and properties of 134
    kilo molecules, doi 10.1038/sdata.2014.22). ``QM9_URL`` is its table as MoleculeNet (1703.00564)
    ships it, with a column smiles. Numbers were measured on the file with ``QM9_MD5``: 133,595
    different SMILES without explicit [H] and stereo marks. The table's strings may differ from
    these, and other strings give other numbers.

    Beyond ``SequenceData``: ``vocabulary``; ``smiles``, the strings of every split.

    Args:
        path: the file, see ``read_smiles``.
        column: of a CSV file.
        length: tokens per sequence; None: the length of the longest molecule.
        split: shares of train, validation and test.
        split_seed: of the split, and of nothing else.
        limit_eval: use only so many validation and test molecules; None: all.
        md5: expected md5 of the file; None: not checked.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: shares that do not sum to 1; a file that is unfit; a validation or test molecule
            with a token that no training molecule has (in ``setup``).
        MissingDataError: no such file.
        ChecksumError: a file with another md5.
    """

    unit, entropy, precedence = "SMILES symbol", None, None

    places = ("path",)

    def __init__(
        self,
        path: Text,
        column: Text = "smiles",
        length: Size | None = None,
        split: Shares = (0.9, 0.05, 0.05),
        split_seed: Seed = 0,
        limit_eval: Size | None = None,
        md5: Text | None = None,
        batch_size: Size = 64,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        check_shares(split)
        self.file, self.column, self.wanted_length, self.split = Path(path), column, length, split
        self.split_seed, self.limit_eval, self.expected_md5 = split_seed, limit_eval, md5

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks, splits and encodes, in two seconds for QM9; a second call does nothing."""
        if hasattr(self, "test_set"):
            return
        if not self.file.is_file():
            raise MissingDataError(
                f"no such file: {self.file} (working folder {Path.cwd()}); give data.path=FILE, "
                f"or, for QM9: {by_hand(QM9_URL, self.file.with_suffix('.csv'))}"
            )
        self.md5 = hashlib.md5(self.file.read_bytes()).hexdigest()
        if self.expected_md5 is not None:
            check_md5(str(self.file), self.md5, self.expected_md5)
        read = read_smiles(self.file, self.column)
        molecules = list(dict.fromkeys(read))
        self.duplicates = len(read) - len(molecules)
        n = len(molecules)
        bounds = split_bounds(n, self.split)
        require(
            all(a < b for a, b in pairwise(bounds)),
            f"{self.file} has {n} molecules, too few for a split of {list(self.split)}",
        )
        order = torch.randperm(n, generator=data_generator(0x5311E5, self.split_seed)).tolist()
        self.smiles = {
            name: [molecules[i] for i in order[a:b]]
            for name, (a, b) in zip(SPLITS, pairwise(bounds), strict=True)
        }
        tokens = {
            name: [tokenise(molecule) for molecule in mine] for name, mine in self.smiles.items()
        }
        longest = max(len(molecule) for mine in tokens.values() for molecule in mine)
        self.length = self.wanted_length or longest
        self.vocabulary = SmilesVocabulary.of(tokens["train"])
        self.vocab_size = len(self.vocabulary)
        rows = {
            name: self.vocabulary.encode(mine, self.length, f"{self.file}, {name} split")
            for name, mine in tokens.items()
        }
        for name in SPLITS[1:]:  # after all of them were checked
            self.smiles[name], rows[name] = (
                self.smiles[name][: self.limit_eval],
                rows[name][: self.limit_eval],
            )
        self.train_set, self.val_set, self.test_set = (Rows(rows[name]) for name in SPLITS)

    def decode(self, tokens: Tensor) -> list[str]:
        """Rows (n, length) as SMILES, see ``SmilesVocabulary.decode``."""
        return self.vocabulary.decode(tokens)

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints: ``vocabulary``, tokens in the order of their ids."""
        return {"vocabulary": list(self.vocabulary.symbols)}

    def load_state_dict(self, state_dict: State) -> None:
        """Checks that the checkpoint's token ids mean the same here. Raises DataError."""
        saved, mine = state_dict["vocabulary"], list(self.vocabulary.symbols)
        require(
            saved == mine,
            f"the checkpoint was trained with the {len(saved)} tokens {' '.join(saved)}, these "
            f"data have the {len(mine)} {' '.join(mine)}; "
            "use the same file and split",
        )

    def describe(self) -> dict[str, object]:
        return {
            "name": self.file.name,
            "md5": self.md5,
            **super().describe(),
            "vocabulary": list(self.vocabulary.symbols),
            "duplicates": self.duplicates,
            "split": list(self.split),
            "split_seed": self.split_seed,
        }
