"""Public LLMs of a test: made over HTTP, at an upstream on this machine."""

from __future__ import annotations

import base64

from tests.support.brokers import Replica

LLMS, SECRETS = "/api/v1/llms", "/api/v1/secrets"
KEY, OTHER_KEY = base64.b64encode(b"k" * 32).decode(), base64.b64encode(b"o" * 32).decode()
#: Settings of a broker that may call this machine and keep secrets.
HERE = {"upstream_allow": "127.0.0.0/8", "secret_key": KEY}


async def put_secret(broker: Replica, name: str, value: str) -> None:
    status, body, _ = await broker.call("PUT", f"{SECRETS}/{name}", {"value": value})
    assert status in (200, 201), body


async def make_llm(broker: Replica, name: str, url: str, *, key: str = "", **fields: object) -> dict:
    """The row. ``key``: kept as a secret of the LLM's name, and named by it."""
    if key:
        await put_secret(broker, name, key)
        fields["apiKeyRef"] = name
    status, row, _ = await broker.call("POST", LLMS, {"name": name, "url": url, **fields})
    assert status == 201, row
    return row
