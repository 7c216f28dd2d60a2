"""Which tools an agent may use: the list ``tools`` in its ``extras``, as ``["search", "files.read*"]``.

A word is a server's name (all its tools), or ``<server>.<tool>`` where the tool may have ``*`` and ``?``. No list
allows every tool of the project, an empty one none; a list that cannot be read allows none.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec


class _Extras(msgspec.Struct):
    tools: tuple[str, ...] | None = None


_read = msgspec.json.Decoder(_Extras).decode


class AllowList:
    """``words`` None: every tool."""

    def __init__(self, words: tuple[str, ...] | None):
        self._words = None if words is None else [word.partition(".") for word in words]

    @classmethod
    def read(cls, extras: bytes) -> AllowList:
        """Of an agent's ``extras``, a JSON object. Raises ValueError."""
        if not extras:
            return cls(None)
        try:
            return cls(_read(extras).tools)
        except (msgspec.MsgspecError, RecursionError):
            raise ValueError('`extras.tools` is no list of names, as ["search", "files.read*"]') from None

    def has_server(self, server: str) -> bool:
        """Whether any tool of that server may be used."""
        return self._words is None or any(name == server for name, _, _ in self._words)

    def has(self, server: str, tool: str) -> bool:
        return self._words is None or any(
            name == server and (not dot or fnmatchcase(tool, glob)) for name, dot, glob in self._words
        )

    def strangers(self, servers: Iterable[str]) -> list[str]:
        """The servers that the list names and that are not among these."""
        known = set(servers)
        return sorted({name for name, _, _ in self._words or () if name not in known})


def is_among(tools: tuple[str, ...] | None, tool: str) -> bool:
    """Whether a server's own list of tools has that one; None: it has all."""
    return tools is None or tool in tools
