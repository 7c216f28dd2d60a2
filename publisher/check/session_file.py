"""Checks whether the publisher can remember its session from one start to the next."""

from __future__ import annotations

from publisher.check.finding import About, Finding
from publisher.check.writable import why_not_writable
from publisher.link.session import default_session_file


def check_session_file(broker_url: str, published_from: str) -> list[Finding]:
    """Where it is by default; ``--session-file`` may name another."""
    about = About("session")
    file = default_session_file(broker_url, published_from)
    if why := why_not_writable(file):
        what = f"the session cannot be kept in {file.parent}: {why}"
        return [about.warning(what, "make it writable, or every start is a new session; or give run a --session-file")]
    return [about.ok(f"the session is kept in {file.parent}")]
