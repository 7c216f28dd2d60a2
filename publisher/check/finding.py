"""What one look found: good, doubtful or bad, and what to do about it. No secret is ever in it."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warning", "error"]


class Finding(msgspec.Struct, frozen=True):
    """``subject``: what was looked at; findings of one subject are shown together."""

    subject: str
    level: Level
    what: str
    remedy: str = ""


class About:
    """Makes findings of one subject."""

    def __init__(self, subject: str) -> None:
        self.subject = subject

    def ok(self, what: str) -> Finding:
        return Finding(self.subject, "ok", what)

    def warning(self, what: str, remedy: str) -> Finding:
        return Finding(self.subject, "warning", what, remedy)

    def error(self, what: str, remedy: str) -> Finding:
        return Finding(self.subject, "error", what, remedy)
