"""Checks this machine's clock against the broker's, by the date of an answer."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from publisher.check.finding import About, Finding
from publisher.terminal.amounts import seconds

MOST_S = 60.0


def check_clock(about: About, date: str | None, now_s: float) -> list[Finding]:
    """Nothing when the answer told no date. Answers carry whole seconds, and took their time."""
    try:
        ahead_s = now_s - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return []
    if abs(ahead_s) <= MOST_S:
        return [about.ok("its clock and this machine's agree")]
    way = "ahead of" if ahead_s > 0 else "behind"
    return [about.warning(f"this machine's clock is {seconds(abs(ahead_s))} {way} the broker's", "set both by NTP")]
