"""The contract's chapter on registration, over HTTP."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider


async def test_a_new_name_is_inserted_as_virtual_and_owned_by_the_session(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "qwen", model="qwen3", slots=2) as provider:
        row = await broker.llm("qwen")
        assert row["kind"] == "virtual" and row["status"] == "active" and row["channel"] is True
        assert row["model"] == "qwen3" and row["slots"] == 2 and row["url"] == "" and row["apiKeyRef"] is None
        assert row["tier"] == "fast" and row["description"] == "" and row["extraConfig"] == {}
        assert row["providerSessionId"] == provider.session and row["version"] == 1
        assert row["lastHeartbeatAt"].endswith("Z") and row["inactiveSince"] is None
