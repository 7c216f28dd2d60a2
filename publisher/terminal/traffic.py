"""The live view's two lists of requests: those that run, and the last ones that ended."""

from __future__ import annotations

import time
from collections.abc import Sequence

from publisher.request import CANCELLED, FAILED, OK, Request
from publisher.status import RowStatus
from publisher.terminal.amounts import coarse, count, seconds
from publisher.terminal.line import Line, padded, widest
from publisher.terminal.rows import Sight

NAME_MOST = 32
AGE_CELLS = 7
SINCE_TENTHS = 10.0  # from this age on whole seconds will do


def running(requests: Sequence[Request], total: int, height: int, sight: Sight) -> list[Line]:
    """``requests``: the oldest of ``total``."""
    if height <= 0 or not total:
        return []
    shown = list(requests[: max(height - 1, 0)])
    if len(shown) < total:
        shown = shown[: max(height - 2, 0)]
    whats = _whats(shown, sight)
    lines: list[Line] = [[(f"RUNNING {total}", "dim")]]
    for request, what in zip(shown, whats, strict=True):
        age_s = sight.now - request.began_at
        age = seconds(age_s) if age_s < SINCE_TENTHS else coarse(age_s)
        word, style = _progress(request, sight)
        lines.append([("  ", ""), *what, (f"  {age:>{AGE_CELLS}}  ", ""), (word, style)])
    if len(shown) < total and height > 1:
        lines.append([(f"  +{total - len(shown)} more", "dim")])
    return lines


def ended(recent: Sequence[tuple[float, Request]], rows: list[RowStatus], height: int, sight: Sight) -> list[Line]:
    """``recent``: the newest last, each with the wall clock's time."""
    if height <= 0 or not recent:
        return []
    total, failed = sum(row.requests for row in rows), sum(row.failed for row in rows)
    title: Line = [(f"ENDED {count(total)}", "dim")]
    if failed:
        title.append((f" {sight.glyphs.dot} {count(failed)} failed", "red"))
    shown = list(reversed(recent))[: height - 1]
    whats = _whats([request for _, request in shown], sight)
    return [title, *(_last(at, request, what, sight) for (at, request), what in zip(shown, whats, strict=True))]


def _whats(requests: Sequence[Request], sight: Sight) -> list[Line]:
    """Operation and name of each, in two columns."""
    operations = [sight.plain(request.operation) for request in requests]
    names = [sight.plain(request.name) for request in requests]
    most = min(NAME_MOST, max(sight.width // 3, 1))
    operation_cells, name_cells = min(widest(operations), most), min(widest(names), most)
    return [
        [(padded(operation, operation_cells, sight.glyphs) + " ", "dim"), (padded(name, name_cells, sight.glyphs), "")]
        for operation, name in zip(operations, names, strict=True)
    ]


def _progress(request: Request, sight: Sight) -> tuple[str, str]:
    if request.name in sight.wakes:
        return "waiting for the wake", "yellow"
    if request.started_at is None:
        return "waiting for a slot", "yellow"
    if request.first_at is None:
        return "no answer yet", "dim"
    if not request.streaming:
        return "answering", "green"
    return f"{count(request.tokens)} tok  {request.tokens_per_s(sight.now):.0f}/s", "green"


def _last(at: float, request: Request, what: Line, sight: Sight) -> Line:
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    begin = [(f"  {clock} ", "dim"), *what, (f"  {seconds(request.seconds):>{AGE_CELLS}}  ", "")]
    if request.outcome == OK:
        speed = f"  {request.speed:.0f}/s" if request.speed else ""
        return [*begin, (f"{count(request.tokens)} tok{speed}" if request.tokens else "ok", "dim")]
    style = "dim" if request.outcome == CANCELLED else "red"
    return [*begin, (sight.plain(request.outcome.removeprefix(FAILED)), style)]
