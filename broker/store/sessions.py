"""A publisher's identity: registration, heartbeat, status, goodbye, and its one channel.

Each call is one script. A session that belongs to somebody else does not exist:
UnknownSession, whatever the reason.
"""

from __future__ import annotations

import msgspec

from broker.errors import Conflict, NotFound
from broker.model import Session
from broker.unknown import UnknownLLM, UnknownSession
from broker.wire import TOOLS

from .scripts import Scripts

_REFUSALS = {
    b"public": "{family} {name!r} is a public one; publish under another name.",
    b"held": "{family} {name!r} is published by another session; stop that publisher, or publish under another name.",
    b"owner": "{family} {name!r} belongs to another owner; publish under another name, or have an admin delete it.",
}


class Sessions:
    def __init__(
        self, scripts: Scripts, *, adoption: str, accept_ms: int, grace_ms: int, stale_ms: int, expire_ms: int,
        wake_limit_ms: int,
    ):
        self._scripts = scripts
        self._adoption = adoption
        self._accept_ms = accept_ms
        self._grace_ms = grace_ms
        self._stale_ms = stale_ms
        self._expire_ms = expire_ms
        self._wake_limit_ms = wake_limit_ms

    async def register(
        self, sid: str, owner: str, *, llms: list[dict], agents: list[dict], replace: bool, accepts: bool
    ) -> None:
        """All rows or none. Raises UnknownSession, Conflict, NotFound (an agent's LLM)."""
        entries = msgspec.json.encode({"llms": llms, "agents": agents})
        verdict, *rest = await self._scripts.run(
            "session_register", sid, owner, entries, int(replace), int(accepts), self._adoption,
            self._accept_ms, self._stale_ms, self._expire_ms, self._wake_limit_ms,
        )
        if verdict == b"foreign":
            raise UnknownSession()
        if verdict == b"refused":
            self._refuse(*rest)

    async def all(self, *, owner: str | None) -> list[Session]:
        """Every session of that owner, by id; None: everybody's."""
        return await self._read(owner, "")

    async def session(self, sid: str, *, owner: str | None) -> Session:
        """Raises UnknownSession."""
        for session in await self._read(owner, sid) if sid else ():
            return session
        raise UnknownSession(f"There is no session {sid!r} of yours.")

    async def _read(self, owner: str | None, sid: str) -> list[Session]:
        told = await self._scripts.run("sessions_read", owner or "", sid, self._stale_ms, self._expire_ms)
        return sorted((Session.read([text.decode() for text in one]) for one in told), key=lambda session: session.id)

    async def heartbeat(self, sid: str, owner: str) -> None:
        self._found(await self._scripts.run("session_heartbeat", sid, owner, self._stale_ms, self._expire_ms))

    async def goodbye(self, sid: str, owner: str) -> None:
        self._found(await self._scripts.run("session_goodbye", sid, owner, self._expire_ms))

    async def set_status(self, sid: str, owner: str, llm: str, status: str) -> None:
        """``status``: active, draining (no new work) or hibernating. Raises UnknownSession, UnknownLLM, Conflict (falling
        asleep with work)."""
        verdict = await self._scripts.run("llm_status", sid, owner, llm, status, self._accept_ms, self._wake_limit_ms)
        if verdict == b"unknown":
            raise UnknownLLM(f"This session publishes no LLM {llm!r}.")
        if verdict == b"busy":
            raise Conflict(f"{llm!r} has work queued or running; it can sleep when that is done.")
        self._found(verdict)

    async def open_channel(self, sid: str, owner: str, *, channel: str, replica: str, instance: str) -> None:
        self._found(
            await self._scripts.run(
                "channel_open", sid, owner, channel, replica, instance,
                self._accept_ms, self._stale_ms, self._expire_ms, self._wake_limit_ms,
            )
        )

    async def close_channel(self, sid: str, channel: str, *, by: str) -> None:
        """``by``: publisher | broker. A channel that is not the session's own any more is left alone."""
        await self._scripts.run("channel_close", sid, channel, by, self._grace_ms, self._expire_ms)

    @staticmethod
    def _found(verdict: object) -> None:
        if verdict == b"gone":
            raise UnknownSession()

    @staticmethod
    def _refuse(family: bytes, name: bytes, why: bytes, *missing: bytes) -> None:
        text = name.decode()
        if why == b"missing_llm":
            raise NotFound(f"agent {text!r} is pinned to the LLM {missing[0].decode()!r}, which does not exist.")
        label = "LLM" if family == b"llm" else "agent"
        if text.startswith(TOOLS):
            label, text = "tool server", text.removeprefix(TOOLS)
        raise Conflict(_REFUSALS[why].format(family=label, name=text), param=text)
