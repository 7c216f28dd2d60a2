"""One picture of the live view: brokers, published LLMs, running and ended requests.

A pure function of what is told to it: it asks no clock, no terminal and no
program. Whatever the size, it is never exceeded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.text import Text

from publisher.activity import Waking
from publisher.request import Request
from publisher.status import BrokerStatus, Status
from publisher.terminal import rows, traffic
from publisher.terminal.amounts import coarse
from publisher.terminal.line import ASCII, STYLES, UNICODE, Line, drawn, fitted

ENDED_MOST = 8
BROKERS_MOST = 5
AIRY_FROM = 16  # lines; below, no blank ones


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What happens, at one moment. ``running`` may be the oldest few of ``running_total``."""

    now: float  # of the clock that requests are timed by
    running: tuple[Request, ...] = ()
    running_total: int = 0
    recent: tuple[tuple[float, Request], ...] = ()  # ended, the newest last, with the wall clock's time
    wakes: Mapping[str, Waking] = field(default_factory=dict)


def frame(status: Status, snapshot: Snapshot, width: int, height: int, ascii_only: bool = False) -> Text:
    return drawn(lines(status, snapshot, width, height, ascii_only))


def lines(status: Status, snapshot: Snapshot, width: int, height: int, ascii_only: bool = False) -> list[Line]:
    """The same as plain values, so that two pictures can be compared without drawing them."""
    glyphs = ASCII if ascii_only else UNICODE
    sight = rows.Sight(width, glyphs, snapshot.now, snapshot.wakes)
    head = _head(status, sight)
    ended_wanted = min(len(snapshot.recent), ENDED_MOST)
    wanted = [
        len(head),
        rows.wanted(status.rows),
        snapshot.running_total + 1 if snapshot.running_total else 0,
        ended_wanted + 1 if ended_wanted else 0,
    ]
    airy = height >= AIRY_FROM
    gaps = sum(map(bool, wanted)) - 1 if airy else 0
    shares = _shares(height - gaps, wanted)
    sections = [
        _more(head, shares[0]),
        rows.table(status.rows, shares[1], sight),
        traffic.running(snapshot.running, snapshot.running_total, shares[2], sight),
        traffic.ended(snapshot.recent, status.rows, shares[3], sight),
    ]
    all_lines: list[Line] = []
    for section in filter(None, sections):
        if airy and all_lines:
            all_lines.append([])
        all_lines += section
    return [fitted(line, width, glyphs) for line in all_lines[: max(height, 0)]]


def _shares(height: int, wanted: list[int]) -> list[int]:
    """How many lines each section gets: its least first, then as much as it wants, in their order."""
    left = max(height, 0)
    shares = []
    for want, least in zip(wanted, (1, 3, max(3, height // 4), height // 6), strict=True):
        shares.append(min(want, least, left))
        left -= shares[-1]
    for number, want in enumerate(wanted):
        extra = min(want - shares[number], left)
        shares[number] += extra
        left -= extra
    return shares


def _head(status: Status, sight: rows.Sight) -> list[Line]:
    dot = f" {sight.glyphs.dot} "
    facts = [f"up {coarse(status.up_s)}"]
    if status.memory_bytes:
        facts.append(f"{status.memory_bytes / 1e6:.0f} MB")
    if status.config:
        facts.append(sight.plain(os.path.basename(status.config)))
    head: list[Line] = [[(f"Reveille {status.version}", "bold"), (dot + dot.join(facts), "dim")]]
    if status.config_error:
        head.append([("config: ", "red"), (sight.plain(status.config_error), "red")])
    head += [_broker(broker, sight) for broker in status.brokers[:BROKERS_MOST]]
    if len(status.brokers) > BROKERS_MOST:
        head.append([(f"  +{len(status.brokers) - BROKERS_MOST} more brokers", "dim")])
    return head


def _broker(broker: BrokerStatus, sight: rows.Sight) -> Line:
    style = STYLES.get(broker.state, "")
    dot = f" {sight.glyphs.dot} "
    line: Line = [
        (sight.glyphs.chips.get(broker.state, "?") + " ", style), (sight.plain(broker.url) + "  ", ""),
        (f"{sight.plain(broker.state)} {coarse(broker.since_s)}", style),
    ]
    if broker.state != "open" and broker.last_error:
        line.append((dot + sight.plain(broker.last_error), "dim"))
    elif broker.session:
        line.append((dot + sight.plain(broker.session), "dim"))
    return line


def _more(head: list[Line], height: int) -> list[Line]:
    """Of the head, its first line is the one to give up."""
    return head[len(head) - height :] if height else []
