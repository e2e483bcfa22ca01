"""Molecules sampled as SMILES strings: validity, uniqueness, novelty.

Validity needs RDKit (``.[molecules]``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec

from ordo.errors import install


def has_rdkit() -> bool:
    return find_spec("rdkit") is not None


def canonical(smiles: Iterable[str]) -> list[str | None]:
    """RDKit's canonical SMILES of each string; None for a string that is no molecule.

    A string is no molecule if RDKit cannot parse or sanitise it, or if it has no atoms. Sanitising
    checks valences, aromaticity (that it can be written with alternating bonds) and ring closures.
    A radical such as C[CH] is valid, and so are several molecules in one string (C.C).

    Raises ImportError if RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"validity of molecules needs RDKit: {install('molecules')}") from error
    out: list[str | None] = []
    with rdBase.BlockLogs():  # RDKit writes the fault of every string to standard error
        for string in smiles:
            # RDKit takes the text behind a space for a name.
            plain = string.isascii() and " " not in string
            molecule = Chem.MolFromSmiles(string) if plain else None
            out.append(
                Chem.MolToSmiles(molecule)
                if molecule is not None and molecule.GetNumAtoms()
                else None
            )
    return out


def molecule_quality(samples: Sequence[str], train: Collection[str]) -> dict[str, float]:
    """Shares of good samples; 1 is best.

    * valid: share of the samples that are molecules.
    * unique: share of different molecules among the valid samples, by canonical SMILES.
    * novel: share of those different molecules that are not in ``train``.
    * valid_unique_novel: the product of the three: new molecules per sample.

    A share of nothing is left out. A set may be all but complete, as QM9 is of its kind of
    molecule: then a high novelty says that a model leaves the set.

    Args:
        samples: SMILES strings, at least one.
        train: a set of the canonical SMILES of the training molecules, as ``canonical`` gives them.
    """
    molecules = canonical(samples)
    valid = [molecule for molecule in molecules if molecule is not None]
    unique = set(valid)
    novel = unique.difference(train)
    out = {"valid": len(valid) / len(samples)}
    if valid:
        out |= {"unique": len(unique) / len(valid), "novel": len(novel) / len(unique)}
    return out | {"valid_unique_novel": len(novel) / len(samples)}


def string_quality(samples: Sequence[str], train: Collection[str]) -> dict[str, float]:
    """Shares of different strings, and of those that are not in ``train``.

    These need no toolkit: a string counts whether it is a molecule or not.
    """
    unique = set(samples)
    return {
        "distinct_strings": len(unique) / len(samples),
        "strings_not_in_train": len(unique.difference(train)) / len(unique),
    }
