"""One text a line, and back."""

import sys

import pytest

from ordo.data.text.lines import from_line, one_line


@pytest.mark.parametrize("start", range(0, 0x3000, 0x800))
def test_every_character(start):
    """Alone, and beside backslashes: one line of what splitlines splits, and the text again."""
    for code in range(start, start + 0x800):
        for text in (chr(code), f"a\\{chr(code)}n", f"{chr(code)}\\", f"\\n{chr(code)}\\\\x85"):
            line = one_line(text)
            assert len(f"{line}|".splitlines()) == 1
            assert from_line(line) == text


def test_all_others():
    odd = [
        chr(c) for c in range(0x3000, sys.maxunicode + 1, 1) if len(f"a{chr(c)}b".splitlines()) > 1
    ]
    assert not odd, "no line end lies beyond"
    for text in ("\ufeffa", "\ud800", "🙂", "\udfff\\ud800"):
        assert from_line(one_line(text)) == text
        one_line(text).encode("utf-8")
        assert not one_line(text).startswith("\ufeff")


def test_the_form_is_the_documented_one():
    assert one_line("a\nb\rc\\d\u2028e\x85f\x0b") == r"a\nb\rc\\d\u2028e\x85f\x0b"
    assert one_line("plain ünï _ text\t") == "plain ünï _ text\t"
