"""The Lua scripts: read once from ``lua/``, called by name.

Each is the prelude and its own text. A script starts with ``#!lua`` and, when
it finishes work, ``flags=allow-oom``, so that a full Redis can still end what it
accepted. Servers that do not know that line (fakeredis) get the text without it.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Protocol

from .link import ScriptMissing


class Caller(Protocol):
    """What runs a command: a Link, or a test's stand-in for the server."""

    async def call(self, *command) -> object: ...


class Scripts:
    """Every script of the store, bound to one connection and one namespace."""

    def __init__(self, link: Caller, prefix: str, *, shebang: bool = True):
        self._link = link
        self._prefix = prefix
        self._texts = {name: compose(name, shebang=shebang) for name in names()}
        self._digests = {name: hashlib.sha1(text).hexdigest() for name, text in self._texts.items()}

    async def run(self, script: str, *args) -> object:
        """One script's answer. Raises StoreUnavailable when Redis cannot give one."""
        try:
            return await self._link.call("EVALSHA", self._digests[script], 1, self._prefix, *args)
        except ScriptMissing:
            # Nothing was done, so this is the first try and not a second one.
            return await self._link.call("EVAL", self._texts[script], 1, self._prefix, *args)


def names() -> list[str]:
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in _folder().iterdir()
        if entry.name.endswith(".lua") and entry.name != "prelude.lua"
    )


def compose(name: str, *, shebang: bool = True) -> bytes:
    """A script's whole text: its first line, the prelude, its body."""
    body = (_folder() / f"{name}.lua").read_text()
    first, rest = body.split("\n", 1)
    text = (_folder() / "prelude.lua").read_text() + rest
    return (f"{first}\n{text}" if shebang else text).encode()


def _folder():
    return resources.files("broker.store").joinpath("lua")
