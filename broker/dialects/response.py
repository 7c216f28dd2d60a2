"""A server's answer as the translators see it: its head is read, its body is not yet.

Shapes only; aiohttp's ``ClientResponse`` is one, and so is each translated answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Bytes(Protocol):
    """A body as it arrives."""

    async def readany(self) -> bytes:
        """What is there, waiting for at least one byte; ``b""`` at the end."""

    def at_eof(self) -> bool: ...


class Response(Protocol):
    status: int
    reason: str | None
    headers: Mapping[str, str]
    content_type: str
    content: Bytes

    def close(self) -> None:
        """Before the end of the body: stops the server's work."""
