"""Tables, colours and errors of the client verbs, as plain text.

Colours only on a terminal that wants them. Nothing printed can act on the
terminal, or fail because it cannot write a character.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, TextIO

import click

from .printable import lines, one_line

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
GAP = "   "


class Cell(NamedTuple):
    """``colour``: a name that click knows."""

    text: str
    colour: str | None = None


def coloured(stream: TextIO) -> bool:
    """``NO_COLOR`` comes before ``FORCE_COLOR``, and that before what the stream is."""
    if os.environ.get("NO_COLOR"):
        return False
    if forced := os.environ.get("FORCE_COLOR"):
        return forced != "0"
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "", colour: str | None = None, *, dim: bool = False, err: bool = False, end: str = "\n") -> None:
    """Text that may have several lines, or be a piece of one (``end=""``)."""
    stream = sys.stderr if err else sys.stdout
    said = writable(lines(text), stream)
    if (colour or dim) and coloured(stream):
        said = click.style(said, fg=colour, dim=dim or None)
    click.echo(said + end, err=err, nl=False, color=True)


def answer(text: str) -> None:
    """What an LLM said: for a terminal made fit, else just as it is."""
    if sys.stdout.isatty():
        say(text)
        return
    sys.stdout.buffer.write((text.removesuffix("\n") + "\n").encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Each line of the message is a line of the error."""
    complain(message)
    sys.exit(code)


def complain(message: str) -> None:
    say("\n".join(f"broker: {line}" for line in message.split("\n")), err=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int] = (), *, head: bool = True, indent: str = "") -> list[int]:
    """Prints it. Returns how wide its columns are; ``widths``: at least so wide, for rows that follow others."""
    colours = coloured(sys.stdout)
    texts = [[writable(one_line(cell.text), sys.stdout) or "-" for cell in row] for row in rows]
    found = [max([width(heads[n]), *(width(line[n]) for line in texts), *widths[n : n + 1]]) for n in range(len(heads))]
    if head:
        click.echo(indent + _joined(list(heads), found))
    for row, line in zip(rows, texts):
        click.echo(indent + _joined(line, found, [cell.colour if colours else None for cell in row]), color=True)
    return found


def says_all(stream: TextIO) -> bool:
    """Whether its encoding has every character."""
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, columns: int) -> str:
    """At most so wide; what is cut off shows as three dots."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 3:
        text = text[:-1]
    return text + "..."


def writable(text: str, stream: TextIO) -> str:
    """What the stream's encoding cannot say is escaped."""
    encoding = stream.encoding or "ascii"
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)


def _joined(texts: list[str], widths: list[int], colours: Sequence[str | None] = ()) -> str:
    cells = []
    for n, text in enumerate(texts):
        room = " " * (widths[n] - width(text)) if n + 1 < len(texts) else ""
        colour = colours[n] if colours else None
        cells.append((click.style(text, fg=colour) if colour else text) + room)
    return GAP.join(cells)
