"""Tool servers at publishers: asked through the relay, as an LLM there is.

A call waits for a slot, is redelivered and cancelled as any task. Its record in Redis
is the relay's; nothing else is kept.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from broker.errors import NotFound, PublisherOffline, Refusal
from broker.relay.call import Call
from broker.relay.exchange import Exchange, Patience
from broker.relay.relay import Relay
from broker.wire import MCP, TOOLS

from .failed import ToolServerFailed
from .servers import Server

ANSWER_BYTES = 4 << 20

_encode = msgspec.json.encode


class _Reason(msgspec.Struct, frozen=True):
    message: str = ""


class _Refused(msgspec.Struct):
    error: _Reason = _Reason()


class PublisherServers:
    def __init__(self, relay: Relay):
        self._relay = relay

    async def list(self, server: Server, owner: str, within_s: float) -> list[Any]:
        """Its tools, as MCP lists them. Raises ToolServerFailed."""
        result = await self._ask(server, {"method": "tools/list"}, owner, "req", within_s)
        tools = result.get("tools")
        if not isinstance(tools, list):
            raise ToolServerFailed("listed no tools, but something else")
        return tools

    async def call(
        self, server: Server, tool: str, arguments: dict, owner: str, request_id: str, within_s: float
    ) -> dict:
        """The MCP tool result. Raises ToolServerFailed."""
        asked = {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        return await self._ask(server, asked, owner, request_id, within_s)

    async def _ask(self, server: Server, asked: dict, owner: str, request_id: str, within_s: float) -> dict:
        # The caller keeps the time; these limits only let the publisher know, and hold if the caller does not.
        patience = Patience(deadline_s=within_s + 1, queue_wait_s=within_s, idle_s=within_s, buffer_bytes=2 * ANSWER_BYTES)
        call = Call(f"{TOOLS}{server.tool_server}", MCP, _encode(asked), False, owner, patience)
        task = f"{request_id}_{uuid.uuid4().hex[:12]}"
        try:
            exchange = await self._relay.begin(call, task)
            try:
                return _read(exchange, await _collect(exchange))
            finally:
                self._relay.end(exchange, "the tool call was stopped")
        except NotFound:
            raise ToolServerFailed(f"is not there: no publisher has a tool server {server.tool_server!r}") from None
        except PublisherOffline:
            raise ToolServerFailed("is offline: its publisher is away; try again when it is back") from None
        except Refusal as refusal:
            raise ToolServerFailed(f"gave no answer ({refusal.message[:500].rstrip('.')})") from None


async def _collect(exchange: Exchange) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while not exchange.done:
        piece = await exchange.next() or b""
        size += len(piece)
        if size > ANSWER_BYTES:
            raise ToolServerFailed(f"answered more than {ANSWER_BYTES >> 20} MiB and was stopped; ask for less at a time")
        pieces.append(piece)
    return b"".join(pieces)


def _read(exchange: Exchange, body: bytes) -> dict:
    try:
        if exchange.head and exchange.head.status >= 400:
            reason = msgspec.json.decode(body, type=_Refused).error.message[:500].rstrip(".")
            raise ToolServerFailed(f"gave no answer ({reason or f'status {exchange.head.status}'})")
        return msgspec.json.decode(body, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ToolServerFailed("answered something that is not MCP") from None
