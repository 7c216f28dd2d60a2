"""One mistake in a config file: where it is and what would be right, never what was written.

Raised anywhere while a file is read; ``file.py`` makes the line out of it that
people get to see.
"""

from __future__ import annotations

#: From the top of the file down: names of fields and numbers in lists.
Place = tuple[str | int, ...]


class Mistake(Exception):
    """``line`` and ``column`` count from 1, and are only given where no field has been found yet."""

    def __init__(self, at: Place, text: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(text)
        self.at = at
        self.text = text
        self.line = line
        self.column = column


def dotted(at: Place) -> str:
    """``wake.steps[1].url``"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")
