"""One line of the live view: pieces of text with a style each, cut and padded by what a terminal shows.

Wide characters count as two cells. Nothing in a text is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

Piece = tuple[str, str]  # text and style
Line = list[Piece]


@dataclass(frozen=True, slots=True)
class Glyphs:
    encoding: str | None  # None: the terminal can say everything
    chips: dict[str, str]
    full: str
    rest: str
    more: str
    dot: str


CHIPS = {
    "active": "●", "draining": "●", "in line": "◐", "waking": "◐", "falling asleep": "◑", "hibernating": "○", "unreachable": "✗",
    "open": "●", "connecting": "◐", "registering": "◐", "refused": "✗", "closed": "○",
}
PLAIN_CHIPS = {"●": "*", "◐": "~", "◑": "~", "○": "o", "✗": "x"}
UNICODE = Glyphs(None, CHIPS, "━", "─", "…", "·")
ASCII = Glyphs("ascii", {state: PLAIN_CHIPS[chip] for state, chip in CHIPS.items()}, "#", "-", "..", "-")

STYLES = {
    "active": "green", "draining": "green", "in line": "yellow", "waking": "yellow", "falling asleep": "yellow", "hibernating": "blue", "unreachable": "red",
    "open": "green", "connecting": "yellow", "registering": "yellow", "refused": "red", "closed": "dim",
}


def cut(text: str, cells: int, glyphs: Glyphs) -> str:
    if cell_len(text) <= cells:
        return text
    more = glyphs.more if cells >= len(glyphs.more) else ""
    return set_cell_size(text, max(cells - len(more), 0)) + more


def padded(text: str, cells: int, glyphs: Glyphs) -> str:
    """Exactly so wide."""
    text = cut(text, cells, glyphs)
    return text + " " * (cells - cell_len(text))


def widest(texts: Iterable[str]) -> int:
    return max((cell_len(text) for text in texts), default=0)


def fitted(line: Line, width: int, glyphs: Glyphs) -> Line:
    """Not wider than ``width``: cut in the piece that goes over it. Nothing blank at its end."""
    kept: Line = []
    left = width
    for text, style in line:
        if cell_len(text) > left:
            kept.append((cut(text, left, glyphs), style))
            break
        left -= cell_len(text)
        kept.append((text, style))
    while kept and not (text := kept[-1][0].rstrip(" ")):
        kept.pop()
    if kept:
        kept[-1] = text, kept[-1][1]
    return kept


def drawn(lines: Iterable[Line]) -> Text:
    return Text("\n").join(Text.assemble(*line, no_wrap=True, overflow="crop") for line in lines)
