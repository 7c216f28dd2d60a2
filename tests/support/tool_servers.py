"""Tool servers of a test's publisher, and a call to one as the broker makes it for a chat: through the relay."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broker.http.context import LIMITS
from broker.relay.call import Call
from tests.support.brokers import Replica
from tests.support.provider import Provider

TOOL_SERVERS = "/api/v1/tool-servers"


class ToolProvider(Provider):
    """Registers these tool servers, each a name or a whole entry, besides what a ``Provider`` does."""

    def __init__(self, broker: Replica, *tools: str | dict, llms: tuple[str, ...] = (), **more):
        super().__init__(broker, *llms, **more)
        self.tools = [{"name": tool} if isinstance(tool, str) else tool for tool in tools]

    async def register(self, *names: str, **more):
        return await super().register(*names, **{"toolServers": self.tools, **more})


async def tool_server(broker: Replica, name: str) -> dict | None:
    """The row as readers see it; None for one that is not there."""
    status, row, _ = await broker.call("GET", f"{TOOL_SERVERS}/{name}")
    assert status in (200, 404), row
    return row if status == 200 else None


@asynccontextmanager
async def asked(broker: Replica, server: str, request: dict, *, owner: str = "local") -> AsyncIterator:
    """The exchange of a call to a tool server; cancelled at the end if it has not ended. Raises what dispatch refuses."""
    relay = broker.broker.relay
    call = Call(
        llm=f"_tools/{server}", operation="mcp", body=json.dumps(request).encode(), streaming=False, owner=owner,
        patience=broker.broker.app[LIMITS].patience,
    )
    exchange = await relay.begin(call, f"req_{uuid.uuid4().hex}")
    try:
        yield exchange
    finally:
        relay.end(exchange, "cancelled")


async def answered(exchange) -> tuple[int, dict]:
    """Status and JSON of the whole answer. Raises the Refusal that ends it."""
    parts = []
    while not exchange.done:
        parts.append(await exchange.next())
    return exchange.head.status, json.loads(b"".join(parts))


async def ask(broker: Replica, server: str, request: dict) -> tuple[int, dict]:
    async with asked(broker, server, request) as exchange:
        return await answered(exchange)
