"""Text from elsewhere, made fit for one line of a terminal or a log.

Nothing in it can move the cursor, change a colour, turn the direction of writing
or break the line. What is harmless stays as it is.
"""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), line and paragraph separators, direction marks, halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, encoding: str | None = None) -> str:
    """``encoding``: also escapes what that cannot say."""
    if _UNFIT.search(text):
        text = _UNFIT.sub(_escaped, text.replace("\r\n", " ").replace("\n", " "))
    if encoding is not None and not text.isascii():
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
