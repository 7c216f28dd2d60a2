"""What a terminal would show of some output: just the controls that the live view uses.

Like most terminals it wraps lines anew when it gets narrower. An unknown control
is an error, so that nothing is missed.
"""

from __future__ import annotations

import re

_PART = re.compile(r"\x1b\[(\??)(\d*)(?:;\d+)*([A-Za-z])|([\r\n])|([^\x1b\r\n\x00-\x08\x0b-\x1f]+)")


class Screen:
    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = [""]
        self.row = self.column = 0
        self.cursor_hidden = False
        self.coloured = False

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            part = _PART.match(text, at)
            assert part, f"unknown control in {text[at:at + 20]!r}"
            at = part.end()
            private, number, final, line, words = part.groups()
            if words is not None:
                self._write(words)
            elif line is not None:
                self._line(line)
            else:
                self._control(private, number, final, part[0])

    def resize(self, width: int) -> None:
        """A narrower window: what is longer goes on in the next row, and the cursor with it."""
        kept, row, column = [], 0, 0
        for number, text in enumerate(self.rows):
            pieces = [text[n : n + width] for n in range(0, len(text), width)] or [""]
            if number == self.row:
                within = min(self.column // width, len(pieces) - 1)
                row, column = len(kept) + within, self.column - within * width
            kept += pieces
        self.width, self.rows, self.row, self.column = width, kept, row, column

    @property
    def lines(self) -> list[str]:
        return [text.rstrip() for text in self.rows if text.strip()]

    def _write(self, words: str) -> None:
        for character in words:
            if self.column == self.width:
                self._line("\r")
                self._line("\n")
            text = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = text[: self.column] + character + text[self.column + 1 :]
            self.column += 1

    def _line(self, end: str) -> None:
        if end == "\r":
            self.column = 0
            return
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    def _control(self, private: str, number: str, final: str, whole: str) -> None:
        if final == "m":
            self.coloured |= bool(re.search(r"[\[;](3[0-7]|9[0-7]|38)[;m]", whole))
        elif private and number == "25":
            self.cursor_hidden = final == "l"
        elif final == "A":
            self.row = max(self.row - int(number or 1), 0)
        elif final == "K" and number == "2":
            self.rows[self.row] = ""
        else:
            raise AssertionError(f"unknown control {whole!r}")
