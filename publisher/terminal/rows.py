"""The live view's table of published LLMs, at any width and height.

Columns that do not fit are left out, the least telling first. When there are
too many rows, those where something happens are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from publisher.activity import Waking
from publisher.status import RowStatus
from publisher.terminal.amounts import bar, coarse, count
from publisher.terminal.line import STYLES, Glyphs, Line, padded, widest
from publisher.terminal.printable import printable

BARS_FROM = 70  # cells of width; below, numbers alone
BAR_CELLS = 8
NAME_LEAST = 12
LEFT_OUT_FIRST = ("SLEEPS IN", "WAITING", "TOK/S", "SLOTS", "STATE")


@dataclass(frozen=True, slots=True)
class Sight:
    """What rows are looked at with."""

    width: int
    glyphs: Glyphs
    now: float
    wakes: Mapping[str, Waking]

    def plain(self, text: str) -> str:
        return printable(text, self.glyphs.encoding)


def wanted(rows: list[RowStatus]) -> int:
    """How many lines all of it takes."""
    return 1 + len(rows) + sum(bool(row.last_error) for row in rows)


def table(rows: list[RowStatus], height: int, sight: Sight) -> list[Line]:
    if height <= 0:
        return []
    if not rows:
        return [[("  nothing is published", "dim")]]
    left_out = len(rows) - (height - 1)
    if left_out > 0:
        left_out += 1  # its own line
        rows = sorted(rows, key=_at_rest)[: max(height - 2, 0)]  # stable: as configured otherwise
    spare = height - 1 - len(rows) - (left_out > 0)
    columns = _columns(rows, sight)
    lines = [_title(columns)] if rows else []
    for number, row in enumerate(rows):
        chip = (sight.glyphs.chips.get(row.state, "?") + " ", STYLES.get(row.state, ""))
        name, *others = (cells[number] for _, cells in columns)
        lines.append([chip, name, *(("  " + text, style) for text, style in others)])
        if row.last_error and spare > 0:
            spare -= 1
            lines.append([(f"    {sight.plain(row.last_error)}{_ago(row.last_error_ago_s)}", "dim")])
    if left_out > 0:
        lines.append([(f"  +{left_out} more", "dim")])
    return lines


def _at_rest(row: RowStatus) -> bool:
    return row.state in ("active", "hibernating") and not row.running and not row.waiting


Column = tuple[str, list[tuple[str, str]]]  # title, and a piece per row, all padded


def _columns(rows: list[RowStatus], sight: Sight) -> list[Column]:
    found: dict[str, list[tuple[str, str]]] = {
        "NAME": [(sight.plain(row.name), "bold" if row.running else "") for row in rows],
        "STATE": [(_state(row, sight), STYLES.get(row.state, "")) for row in rows],
        "SLOTS": [(_slots(row, sight), "green" if row.running else "dim") for row in rows],
        "WAITING": [(str(row.waiting) if row.waiting else "", "yellow") for row in rows],
        "TOK/S": [(count(row.tokens_per_s) if row.tokens_per_s else "", "green") for row in rows],
        "SLEEPS IN": [("" if row.sleeps_in_s is None else coarse(row.sleeps_in_s), "dim") for row in rows],
    }
    widths = {title: max(widest(text for text, _ in cells), len(title)) for title, cells in found.items()}
    for title in LEFT_OUT_FIRST:
        if _total(widths, min(widths["NAME"], NAME_LEAST)) <= sight.width:
            break
        del widths[title]
    widths["NAME"] = max(min(widths["NAME"], sight.width - _total(widths, 0)), 1)
    return [
        (padded(title, cells, sight.glyphs), [_cell(piece, cells, sight.glyphs) for piece in found[title]])
        for title, cells in widths.items()
    ]


def _total(widths: Mapping[str, int], name: int) -> int:
    """With the chip before, and two spaces between."""
    return 2 + name + sum(cells + 2 for title, cells in widths.items() if title != "NAME")


def _cell(piece: tuple[str, str], cells: int, glyphs: Glyphs) -> tuple[str, str]:
    return padded(piece[0], cells, glyphs), piece[1]


def _title(columns: list[Column]) -> Line:
    return [("  " + "  ".join(title for title, _ in columns), "dim")]


def _state(row: RowStatus, sight: Sight) -> str:
    if row.state == "unreachable":
        return f"unreachable {coarse(row.state_since_s)}"
    if row.state != "waking":
        return sight.plain(row.state)
    wake = sight.wakes.get(row.name)
    took_s = row.state_since_s if wake is None else sight.now - wake.since
    text = f"waking {coarse(took_s)}"
    if wake is None or not wake.limit_s:
        return text
    text += f"/{wake.limit_s:.0f}s"
    if sight.width < BARS_FROM:
        return text
    return f"{text} {bar(took_s, wake.limit_s, BAR_CELLS, sight.glyphs.full, sight.glyphs.rest)}"


def _slots(row: RowStatus, sight: Sight) -> str:
    text = f"{row.running}/{row.slots}"
    if sight.width < BARS_FROM:
        return text
    return f"{text} {bar(row.running, row.slots, min(row.slots, BAR_CELLS), sight.glyphs.full, sight.glyphs.rest)}"


def _ago(ago_s: float | None) -> str:
    return "" if ago_s is None else f" ({coarse(ago_s)} ago)"
