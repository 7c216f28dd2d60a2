"""Public agents of a test: made over HTTP."""

from __future__ import annotations

from tests.support.brokers import Replica

AGENTS = "/api/v1/agents"


async def make_agent(broker: Replica, name: str, llm: str | None = None, *, headers: dict | None = None, **fields) -> dict:
    """The row."""
    body = {"name": name, **({"llm": llm} if llm else {}), **fields}
    status, row, _ = await broker.call("POST", AGENTS, body, headers=headers)
    assert status == 201, row
    return row


async def shown(broker: Replica, name: str) -> dict | None:
    """The row as readers see it; None for one that is not there."""
    status, row, _ = await broker.call("GET", f"{AGENTS}/{name}")
    assert status in (200, 404), row
    return row if status == 200 else None
