"""Posts webhooks, to addresses of the open internet and those that the setting names. It follows no redirect and reads
no answer."""

from __future__ import annotations

import asyncio

import aiohttp

from .guard import ForbiddenAddress, Guard, GuardedResolver

_WITHIN_S = 15.0


class Hooks:
    def __init__(self, guard: Guard):
        self.guard = guard
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int | str:
        """The status that it was answered with, or why there was none."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                async with self._session(url).post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    return answer.status
        except TimeoutError:
            return "no answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(getattr(error, "os_error", error), ForbiddenAddress):
                return "an internal address"
            return f"no connection ({type(error).__name__})"

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, url: str) -> aiohttp.ClientSession:
        trusted = self.guard.trusts(aiohttp.client.URL(url).host or "")
        if trusted not in self._sessions:
            guards = {} if trusted else {"resolver": GuardedResolver(self.guard), "socket_factory": self.guard.open_socket}
            self._sessions[trusted] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, **guards), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
            )
        return self._sessions[trusted]
