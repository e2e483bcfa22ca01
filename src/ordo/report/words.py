"""What a position, a sequence and a token are called, by the data: a table has columns, rows and
cells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.text import Text

GENERIC = re.compile(r"\b(position|sequence|token)(?=s?\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Words:
    """The three nouns; their plurals end with an s."""

    position: str = "position"
    sequence: str = "sequence"
    token: str = "token"

    def __call__(self, text: str) -> str:
        """The text with these nouns in place of the general ones."""
        return GENERIC.sub(self._noun, text)

    def _noun(self, found: re.Match[str]) -> str:
        noun = getattr(self, found[0].lower())
        return noun[0].upper() + noun[1:] if found[0][0].isupper() else noun

    def relabel(self, figure: Figure) -> Figure:
        """The figure, with the nouns in the titles and labels of its axes; names at ticks stay."""
        for axes in figure.axes:
            own = [child for child in axes.get_children() if isinstance(child, Text)]
            for text in (*own, axes.xaxis.label, axes.yaxis.label):
                text.set_text(self(text.get_text()))
        return figure


# By the unit of the data (``SequenceData.unit``).
BY_UNIT = {
    "column": Words("column", "row", "cell"),
    "cell": Words("cell", "puzzle", "cell"),
    "SMILES symbol": Words("position", "molecule", "symbol"),
}


def words_of(unit: str) -> Words:
    """The nouns for data whose tokens have this unit."""
    return BY_UNIT.get(unit, Words())
