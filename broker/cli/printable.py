"""Text from elsewhere, made fit for a terminal: nothing in it can move the cursor or turn the direction of writing."""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), line and paragraph separators, direction marks, halves of surrogate pairs.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNFIT_IN_LINES = re.compile(f"[{_CONTROLS}]")
_UNFIT = re.compile(f"[{_CONTROLS}\t\n]")


def is_fit(text: str) -> bool:
    """Whether ``lines`` leaves it as it is."""
    return "\r" not in text and not _UNFIT_IN_LINES.search(text)


def one_line(text: str) -> str:
    """For a cell or a message: line breaks become spaces."""
    return _UNFIT.sub(_escaped, text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "))


def lines(text: str) -> str:
    """For a text of several lines, or a piece of one."""
    return _UNFIT_IN_LINES.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
