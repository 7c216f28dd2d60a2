"""Threads and what was said in them: made, listed, renamed, deleted, read. Turns that run: ``turns.py``.

A thread is its owner's alone: to anybody else it is not there. Each decision is one script.
"""

from __future__ import annotations

import uuid

from broker.chat_errors import UnknownThread, UnknownTurn
from broker.errors import Unprocessable
from broker.threads import Message, Thread, Turn, read_messages, turn_shown
from broker.unknown import UnknownAgent

from .scripts import Caller, Scripts


class Threads:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str, *, stale_ms: int, expire_ms: int):
        self._link = link
        self._scripts = scripts
        self._prefix = prefix
        self._ages = (stale_ms, expire_ms)

    async def create(self, agent: str, owner: str, title: str) -> Thread:
        """A thread with the agent of that id or name. Raises UnknownAgent."""
        thread = str(uuid.uuid4())
        if (await self._scripts.run("thread_create", thread, owner, agent, title, *self._ages))[0] == b"unknown":
            raise UnknownAgent(f"There is no agent {agent!r}; GET /api/v1/agents lists those that there are.")
        return await self.thread(thread, owner)

    async def thread(self, thread: str, owner: str) -> Thread:
        """Raises UnknownThread."""
        row = _row(await self._link.call("HGETALL", f"{self._prefix}thread:{thread}"))
        if row.get("owner") != owner:
            raise _unknown(thread)
        return Thread.read(row)

    async def list(self, owner: str, *, agent: str, after: str, limit: int) -> tuple[list[Thread], bool]:
        """The owner's threads, with that agent (id or name) or, for '', all of them, the one with the latest turn first,
        from behind the thread ``after`` on; and whether there are more. Raises UnknownAgent, Unprocessable."""
        verdict, *rest = await self._scripts.run("thread_list", owner, agent, after, limit)
        if verdict == b"unknown":
            raise UnknownAgent(f"There is no agent {agent!r}, nor a thread with one of that name.")
        if verdict == b"no_after":
            raise Unprocessable(f"`after`: {after[:100]!r} is no thread of this list; begin at its start.", param="after")
        more, *rows = rest
        return [Thread.read(_row(row)) for row in rows if row], bool(more)

    async def rename(self, thread: str, owner: str, title: str) -> Thread:
        """Raises UnknownThread."""
        if await self._scripts.run("thread_edit", thread, owner, title) == b"unknown":
            raise _unknown(thread)
        return await self.thread(thread, owner)

    async def delete(self, thread: str, owner: str) -> None:
        """With all that was said in it; a turn that runs ends. Raises UnknownThread."""
        if await self._scripts.run("thread_delete", thread, owner) == b"unknown":
            raise _unknown(thread)

    async def messages(self, thread: str, owner: str, *, after: str, limit: int) -> tuple[list[Message], bool]:
        """Messages in order, from behind the one with the id ``after`` on; and whether there are more. Raises
        UnknownThread, Unprocessable."""
        of, _, number = after.partition(".")
        if after and (of != thread or not (number.isascii() and number.isdecimal() and len(number) < 16)):
            raise Unprocessable(f"`after`: {after[:100]!r} is no message of this thread.", param="after")
        running, more, errors, page = await self._read(thread, owner, int(number or 0), limit, "")
        return read_messages(thread, page, running=running, errors=errors), more

    async def turn(self, thread: str, owner: str, turn: int) -> Turn:
        """Raises UnknownThread, UnknownTurn."""
        running, _, errors, kept = await self._read(thread, owner, 0, 0, turn)
        return turn_shown(thread, turn, kept, running=running, error=errors.get(turn))

    async def _read(
        self, thread: str, owner: str, first: int, limit: int, turn: int | str
    ) -> tuple[int | None, bool, dict[int, bytes], list[bytes]]:
        verdict, *rest = await self._scripts.run("thread_messages", thread, owner, first, limit, turn)
        if verdict == b"unknown":
            raise _unknown(thread)
        if verdict == b"no_turn":
            raise UnknownTurn(f"The thread {thread!r} has no turn {turn}.")
        running, more, errors, page = rest
        pairs = zip(errors[::2], errors[1::2], strict=True)
        return int(running) if running else None, bool(more), {int(of): error for of, error in pairs}, page


def _row(flat: list[bytes]) -> dict[str, str]:
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _unknown(thread: str) -> UnknownThread:
    return UnknownThread(f"There is no thread {thread[:100]!r} of yours; GET /api/v1/threads lists those that there are.")
