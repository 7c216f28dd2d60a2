"""The Lua scripts: read once from ``lua/``, called by name.

Each is its own text and what it uses of ``lua/shared/``. A script starts with ``#!lua`` and, when
it finishes work, ``flags=allow-oom``, so that a full Redis can still end what it
accepted. Servers that do not know that line (fakeredis) get the text without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Protocol

from .link import ScriptMissing

#: One file per noun, each using only those before it.
_SHARED = (
    "post", "owned", "lines", "pools", "pool_lines", "health", "jobs", "kept", "members", "tasks", "orphans", "wakes", "sessions",
    "library", "rows", "personas", "threads", "dispatch", "choice", "attempts",
)
#: Of those the ones whose functions few calls need, though many scripts may.
_RARE = frozenset({"lines", "jobs", "kept", "orphans", "wakes"})
_COMMENT = re.compile("--.*")
_BETWEEN = re.compile(r"\n\n(?=\S)")
_WORD = re.compile(r"\w+")
_DEFINES = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)", re.MULTILINE)


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

    async def load(self) -> None:
        """Hands every script to the server, so that the first use of none takes a turn more, and thereby
        another order, than the rest."""
        await asyncio.gather(*(self._link.call("SCRIPT", "LOAD", text) for text in self._texts.values()))

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
        if entry.name.endswith(".lua")
    )


@cache
def compose(name: str, *, shebang: bool = True) -> bytes:
    """A script's whole text: its first line, what it uses of what is shared, its body."""
    first, body = (_folder() / f"{name}.lua").read_text().split("\n", 1)
    usual, rare = _used(body)
    names = [_FUNCTION.search(block)[1] for block in rare]
    text = "\n\n".join(usual)
    if names:
        calls = re.compile(rf"(?<![\w.:])({'|'.join(names)})(?=\()")
        text, body = (calls.sub(r"rare().\1", code) for code in (text, body))
        text = f"local rare\n{text}\n\n{_made_when_called(rare, names)}"
    text = f"{text}\n{body}"
    return (f"{first}\n{text}" if shebang else text).encode()


def _used(body: str) -> tuple[list[str], list[str]]:
    """The shared definitions that ``body`` needs, and those that they need; apart from them the rare functions. The server
    makes every function of a script anew at each call, which costs microseconds."""
    usual: list[str] = []
    rare: list[str] = []
    words = _words(body)
    for block, defines, needs, seldom in reversed(_definitions()):
        if not defines.isdisjoint(words):
            (rare if seldom else usual).insert(0, block)
            words |= needs
    return usual, rare


def _made_when_called(blocks: list[str], names: list[str]) -> str:
    """Lua's `rare()`: those functions by their names, made at the first call of one."""
    made = ", ".join(f"{name} = {name}" for name in names)
    lines = "\n\n".join(blocks)
    return (
        f"local rare_made\nrare = function()\n  if rare_made then return rare_made end\n{lines}\n"
        f"  rare_made = {{ {made} }}\n  return rare_made\nend"
    )


@cache
def _definitions() -> list[tuple[str, frozenset[str], frozenset[str], bool]]:
    """What is shared, one definition a piece, with the names that it defines, those that stand in it, and whether it is a rare
    function: a blank line before a new one ends it, and each uses only those above it."""
    found = []
    for name in _SHARED:
        for block in _BETWEEN.split((_folder() / "shared" / f"{name}.lua").read_text()):
            seldom = name in _RARE and _FUNCTION.search(block) is not None
            found.append((block, frozenset(_DEFINES.findall(block)), frozenset(_words(block)), seldom))
    return found


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_COMMENT.sub("", text)))


def _folder():
    return resources.files("broker.store").joinpath("lua")
