"""Molecules that were sampled as SMILES strings: validity, uniqueness, novelty. Validity needs RDKit (``.[molecules]``)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec


def has_rdkit() -> bool:
    return find_spec("rdkit") is not None


def canonical(smiles: Iterable[str]) -> list[str | None]:
    """RDKit's canonical SMILES of each; None for a string that is no molecule: RDKit cannot parse or sanitise it, or it has no atoms.

    Sanitising checks valences, aromaticity (that it can be written with alternating bonds) and ring closures. A radical such as C[CH] is
    valid, and so are several molecules in one string (C.C).

    Raises ImportError where RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "validity of molecules needs RDKit: pip install -e '.[molecules]'"
        ) from error
    out: list[str | None] = []
    with rdBase.BlockLogs():  # it tells standard error what is wrong with every string
        for string in smiles:
            # What follows a space is a name to RDKit
            plain = string.isascii() and " " not in string
            molecule = Chem.MolFromSmiles(string) if plain else None
            out.append(
                Chem.MolToSmiles(molecule)
                if molecule is not None and molecule.GetNumAtoms()
                else None
            )
    return out


def molecule_quality(samples: Sequence[str], train: Collection[str]) -> dict[str, float]:
    """Shares, 1 is best. samples: at least one. train: canonical SMILES of the training molecules, as ``canonical`` gives them; a set.

    valid: of the samples. unique: different molecules among the valid samples, by canonical SMILES. novel: of those different molecules,
    the ones that are not in ``train``. valid_unique_novel: the product, of all samples: new molecules a sample. A share of nothing is left
    out.

    For a set that is all but complete, as QM9 is of its kind of molecule, a high novelty says that a model leaves the set.
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
    """What needs no toolkit, of strings as they are, molecules or not: shares of different ones, and of those that are not in ``train``."""
    unique = set(samples)
    return {
        "distinct_strings": len(unique) / len(samples),
        "strings_not_in_train": len(unique.difference(train)) / len(unique),
    }
