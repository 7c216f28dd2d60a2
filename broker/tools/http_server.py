"""Tool servers that the broker calls itself, by streamable HTTP.

Each listing and each call is a session of its own, so that callers share nothing at the server and no replica holds
anything for it; connections are kept. Addresses are guarded as those of public LLMs. The MCP SDK and all that it
brings are loaded when the first server is asked. A key is read at the call, and is in no text and no log.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from types import ModuleType
from typing import Any

import aiohttp

from broker.errors import Refusal, Unprocessable
from broker.store.secrets import Secrets
from broker.upstream.caller import CONNECT_S
from broker.upstream.guard import Guard, GuardedResolver, read_url
from broker.vault import Vault

from .failed import ToolServerFailed
from .servers import Server

log = logging.getLogger(__name__)


class HttpServers:
    def __init__(self, guard: Guard, secrets: Secrets, vault: Vault):
        self._guard = guard
        self._secrets = secrets
        self._vault = vault
        self._asked: set[asyncio.Task] = set()
        self._clients: dict[bool, aiohttp.ClientSession] = {}
        #: What was last spoken with the server at a url, so that it need not be found out at each call.
        self._spoken: dict[str, str] = {}

    async def list(self, server: Server, owner: str, within_s: float) -> list[Any]:
        """Its tools, as MCP lists them. Raises ToolServerFailed."""
        return await self._ask(server, within_s, lambda sdk, session: sdk.list_tools(session))

    async def call(
        self, server: Server, tool: str, arguments: dict, owner: str, request_id: str, within_s: float
    ) -> dict:
        """The MCP tool result. Raises ToolServerFailed."""
        return await self._ask(server, within_s, lambda sdk, session: sdk.call_tool(session, tool, arguments))

    async def close(self) -> None:
        """Ends the sessions that are open, and the connections."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        self._clients.clear()

    async def _ask(self, server: Server, within_s: float, ask: Any) -> Any:
        try:
            url = read_url(server.url or "")
        except Unprocessable:
            raise ToolServerFailed("cannot be called: its `url` is not one") from None
        sdk = await _sdk()
        key = await self._key(server)
        way = sdk.Way(self._client(url.host or ""), url, _headers(server, key), key)
        answer: asyncio.Future = asyncio.get_running_loop().create_future()
        # A task of its own: the answer need not wait for the farewell to the server, nor does a caller that leaves.
        task = asyncio.create_task(
            sdk.hold_session(way, self._spoken.get(str(url), "auto"), lambda session: ask(sdk, session), answer)
        )
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        try:
            spoken, result = await answer
        except ToolServerFailed:
            self._spoken.pop(str(url), None)
            raise
        finally:
            if not answer.done() or answer.cancelled():
                task.cancel()
        self._spoken[str(url)] = spoken
        return result

    async def _key(self, server: Server) -> str:
        if not server.api_key_ref:
            return ""
        kept = await self._secrets.read(server.api_key_ref)
        if kept is None:
            raise ToolServerFailed(f"was not called: there is no secret {server.api_key_ref!r}, which it is called with")
        try:
            return self._vault.open(server.api_key_ref, *kept)
        except Refusal as refusal:
            raise ToolServerFailed(f"was not called: {refusal.message.rstrip('.')}") from None

    def _client(self, host: str) -> aiohttp.ClientSession:
        """One for hosts that the setting names, which may lead anywhere, and one for all others."""
        trusted = self._guard.trusts(host)
        if trusted not in self._clients:
            guards = {} if trusted else {"resolver": GuardedResolver(self._guard), "socket_factory": self._guard.open_socket}
            self._clients[trusted] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, **guards), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S), auto_decompress=False,
            )
        return self._clients[trusted]


def _headers(server: Server, key: str) -> dict[str, str]:
    if not key:
        return {}
    return {server.api_key_header: key} if server.api_key_header else {"Authorization": f"Bearer {key}"}


async def _sdk() -> ModuleType:
    """What speaks MCP; loaded beside the loop, for that takes half a second. Raises ToolServerFailed."""
    try:
        return await asyncio.to_thread(importlib.import_module, "broker.tools.mcp_session")
    except ImportError:
        log.warning("tool servers need the MCP SDK: pip install 'reveille[agents]'")
        raise ToolServerFailed("was not called: the broker needs `pip install 'reveille[agents]'` for that") from None
