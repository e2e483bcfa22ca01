"""Recognises numbers and dates in formats that are not read as numbers.

So none of them becomes a category without a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SIGN = r"[+\-−–]?"
_MONEY = r"(?:[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY|CNY|INR|R\$|kr|zł)"
_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMMA = r"\d+,\d+(?:[eE][+-]?\d+)?"
_POINT_GROUPS = r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"
_COMMA_GROUPS = r"\d{1,3}(?:,\d{2,3})*,\d{3}\.\d*|\d{1,3}(?:,\d{2,3})+,\d{3}"
_BLANK_GROUPS = "\\d{1,3}(?:[ \u00a0\u202f\u2009'\u2019_]\\d{3})+(?:[.,]\\d+)?"
_ANY = f"(?:{_PLAIN}|{_COMMA}|{_POINT_GROUPS}|{_COMMA_GROUPS}|{_BLANK_GROUPS})"
_COMMAS = f"(?:{_COMMA}|{_POINT_GROUPS}|{_COMMA_GROUPS})"
CONVENTIONS = {
    "a decimal comma or separators of thousands": f"{_SIGN}{_COMMAS}",
    "separators of thousands": f"{_SIGN}{_BLANK_GROUPS}",
    "a percent sign": rf"{_SIGN}{_ANY}\s*[%‰]",
    "a sign of money": rf"{_SIGN}\s*{_MONEY}\s*{_SIGN}{_ANY}|{_SIGN}{_ANY}\s*{_MONEY}",
    "brackets for a minus": rf"\(\s*{_MONEY}?\s*{_ANY}\s*\)",
    "other quotes than double ones": rf"['‘’`´]\s*{_SIGN}{_ANY}\s*['‘’`´]?",
    "a minus behind it": f"{_ANY}[-−]",
    "another sign than - for a minus": f"[−–]{_ANY}",
}
_CONVENTIONS = {name: re.compile(pattern) for name, pattern in CONVENTIONS.items()}
_NUMBER = re.compile(f"{_SIGN}{_ANY}")
_DAY = r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))"
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NTH = r"\d{1,2}(?:st|nd|rd|th)?"
_NAMED = rf"(?:{_NTH}[-. ]+{_MONTHS}[-., ]+\d{{2,4}}|{_MONTHS}[-. ]+{_NTH},? +\d{{4}})"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?"
_DATE = re.compile(
    rf"(?:(?:{_DAY}|{_NAMED})(?:[T ,]+{_TIME}(?: ?(?:Z|UTC|[+-]\d{{2}}:?\d{{2}}))?)?|{_TIME})",
    re.IGNORECASE,
)


def convention(text: str) -> str | None:
    """How a number is written that is not read as one, in words; None for any other text."""
    found = next((name for name, pattern in _CONVENTIONS.items() if pattern.fullmatch(text)), None)
    if found is None and not text.isascii():
        plain = "".join(
            str(unicodedata.decimal(c)) if c.isdecimal() else c
            for c in unicodedata.normalize("NFKC", text)
        )
        if plain != text and _NUMBER.fullmatch(plain):
            return "digits of another script"
    return found


def is_date(text: str) -> bool:
    """Whether a text is a date, a time of day, or both."""
    return _DATE.fullmatch(text) is not None


def first_of(texts: Iterable[str]) -> tuple[str, str] | None:
    """The first text that is a number in another format, and that format; None: no text is."""
    return next(((text, found) for text in texts if (found := convention(text)) is not None), None)
