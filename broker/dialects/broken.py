"""Why what a server said cannot be said in another dialect.

Raised while an answer is read; who reads it decides what its caller is told.
"""

from __future__ import annotations


class BrokenAnswer(Exception):
    """The server answered, and not in its dialect. The text is for callers: no secret is in it."""


class CutOff(ConnectionError):
    """The connection ended before the answer did."""
