"""Projects, personalities and prompts of a test: made over HTTP."""

from __future__ import annotations

from tests.support.brokers import Replica

PROJECTS, PERSONALITIES, PROMPTS = "/api/v1/projects", "/api/v1/personalities", "/api/v1/prompts"


async def make_project(broker: Replica, name: str, *, headers: dict | None = None, **fields) -> dict:
    """The row."""
    return await _make(broker, PROJECTS, {"name": name, **fields}, headers)


async def make_personality(broker: Replica, name: str, *, headers: dict | None = None, **fields) -> dict:
    """The row."""
    return await _make(broker, PERSONALITIES, {"name": name, **fields}, headers)


async def make_prompt(broker: Replica, name: str, content: str = "Be kind.", *, headers: dict | None = None, **fields) -> dict:
    """The row."""
    return await _make(broker, PROMPTS, {"name": name, "content": content, **fields}, headers)


async def read(broker: Replica, path: str, key: str) -> dict | None:
    """The row as readers see it; None for one that is not there."""
    status, row, _ = await broker.call("GET", f"{path}/{key}")
    assert status in (200, 404), row
    return row if status == 200 else None


def says(body: dict) -> str:
    """An error's message."""
    return body["error"]["message"]


async def _make(broker: Replica, path: str, body: dict, headers: dict | None) -> dict:
    status, row, _ = await broker.call("POST", path, body, headers=headers)
    assert status == 201, row
    return row
