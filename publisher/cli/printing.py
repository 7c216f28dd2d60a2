"""Tables and colours for what the verbs print, as plain text.

Colours only on a terminal that wants them. Nothing printed can act on the
terminal or fail because the terminal cannot write a character.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, TextIO

import click

from publisher.terminal.printable import printable

FAILED = 1
BAD_CONFIG = 2
GAP = "  "
NARROW = 24


@dataclass(frozen=True, slots=True)
class Cell:
    """``colour``: a name that click knows; ``right``: for numbers."""

    text: str
    colour: str | None = None
    dim: bool = False
    right: bool = False


def coloured(stream: TextIO | None = None) -> bool:
    """``NO_COLOR`` comes before ``FORCE_COLOR``, and that before what the stream is."""
    stream = stream or sys.stdout
    if os.environ.get("NO_COLOR"):
        return False
    if forced := os.environ.get("FORCE_COLOR"):
        return forced != "0"
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "", colour: str | None = None, *, bold: bool = False, dim: bool = False, err: bool = False) -> None:
    """One line."""
    stream = sys.stderr if err else sys.stdout
    line = printable(text, stream.encoding or "ascii")
    if (colour or bold or dim) and coloured(stream):
        line = click.style(line, fg=colour, bold=bold or None, dim=dim or None)
    click.echo(line, err=err, color=coloured(stream))


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Each line of the message is one line of the error."""
    for number, line in enumerate(message.split("\n")):
        say(line if number else f"publisher: {line}", err=True)
    sys.exit(code)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A column without any text is left out. On a terminal the last one ends where the
    line does; without room for it, what it says is below its row."""
    encoding, colours = sys.stdout.encoding or "ascii", coloured()
    columns = [n for n in range(len(heads)) if any(row[n].text for row in rows)]
    head = [Cell(heads[n], dim=True, right=rows[0][n].right) for n in columns]
    lines = [head, *([row[n] for n in columns] for row in rows)]
    texts = [[printable(cell.text, encoding) for cell in line] for line in lines]
    widths = [max(width(line[n]) for line in texts) for n in range(len(columns))]
    below = False
    if sys.stdout.isatty():
        screen = shutil.get_terminal_size().columns
        rest = screen - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        below = rest < min(widths[-1], NARROW)
        widths[-1] = min(widths[-1], screen - len(GAP) if below else rest)
    for number, (line, said) in enumerate(zip(lines, texts)):
        shown = [_shown(*each, colours) for each in zip(line, said, widths)]
        last = shown.pop() if below else ""
        click.echo(GAP.join(shown).rstrip(), color=colours)
        if number and below and said[-1]:
            click.echo(GAP + last.rstrip(), color=colours)


def width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _shown(cell: Cell, text: str, columns: int, colours: bool) -> str:
    if width(text) > columns:
        while width(text) > columns - 3:
            text = text[:-1]
        text += "..."
    room = " " * (columns - width(text))
    if colours and (cell.colour or cell.dim):
        text = click.style(text, fg=cell.colour, dim=cell.dim or None)
    return room + text if cell.right else text + room
