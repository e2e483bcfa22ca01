"""A text on one line of a file, and back."""

from __future__ import annotations

import re

# Where str.splitlines ends a line; a byte-order mark, which readers drop at the beginning of a
# file; and halves of surrogate pairs, which UTF-8 does not have.
_ESCAPED = re.compile("[\\\\\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ufeff\ud800-\udfff]")
_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPE = re.compile(r"\\(?:([\\nr])|x([0-9a-f]{2})|u([0-9a-f]{4}))")
_LONG = {"\\": "\\", "n": "\n", "r": "\r"}


def one_line(text: str) -> str:
    r"""The text without line ends: as \n, \r, \x85, \u2028 and so on; a backslash as \\."""

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")

    return _ESCAPED.sub(escape, text)


def from_line(line: str) -> str:
    """The text that ``one_line`` was given."""
    return _ESCAPE.sub(
        lambda found: _LONG[found[1]] if found[1] else chr(int(found[2] or found[3], 16)), line
    )
