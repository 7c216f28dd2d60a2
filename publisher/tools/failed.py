"""Why a call to a tool server was not answered: a status, and a text that its caller, an LLM, gets to read."""

from __future__ import annotations


class ToolFailed(Exception):
    """``status``: 400 the request · 502 the tool server · 504 it took too long. No secret and no output of it is in the text.

    ``words``: its own, which may repeat what it was asked: for its caller, and in no log.
    """

    def __init__(self, status: int, message: str, words: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.words = words

    @property
    def told(self) -> str:
        """All of it, for the caller."""
        return f"{self} ({self.words})" if self.words else str(self)
