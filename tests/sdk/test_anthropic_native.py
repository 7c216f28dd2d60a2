"""The official Anthropic SDK against a broker whose LLMs speak Anthropic's API: a public one, and one behind a publisher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anthropic
import httpx2
import pytest

from tests.support.engines.anthropic import Anthropic, Script, text, thinking, tool
from tests.support.waiting import BUSY_S

ASKED = {"max_tokens": 50, "messages": [{"role": "user", "content": "hello"}], "thinking": {"type": "enabled", "budget_tokens": 1024}}
TOOLS = [{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {"type": "object"}}]
SAID = Script(blocks=(thinking("h", "m"), text(), tool("t1", "f", '{"a":', "1}")), stop_reason="tool_use", headers={"request-id": "req_theirs"})


@asynccontextmanager
async def pair(world, script: Script) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, Anthropic]]:
    """The SDK, and the server behind both LLMs."""
    async with Anthropic(script, port=world.claude_port, strict=False) as server, httpx2.AsyncClient(timeout=20) as http:
        row = {"name": "claude-public", "type": "anthropic", "model": "claude-a", "url": server.url}
        async with aiohttp.ClientSession() as admin, admin.post(f"{world.broker_url}/api/v1/llms", json=row) as made:
            assert made.status in (201, 409), await made.text()  # each test finds the row that the first one made
        yield anthropic.AsyncAnthropic(base_url=world.broker_url, api_key="any", http_client=http, max_retries=0), server


@pytest.mark.parametrize("model", ["claude-public", "claude-virtual"])
async def test_a_message_with_all_that_only_anthropic_has(world, model):
    async with pair(world, SAID) as (client, server):
        message = await client.messages.create(**ASKED, model=model, tools=TOOLS, extra_headers={"anthropic-beta": "a-1"})
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"] and message.content[0].signature == "c2ln"
    assert message.content[2].input == {"a": 1} and message._request_id == "req_theirs" and message.usage.input_tokens == 5
    assert server.asked == {**ASKED, "model": "claude-a", "tools": TOOLS} and server.last.headers["anthropic-beta"] == "a-1"


@pytest.mark.parametrize("model", ["claude-public", "claude-virtual"])
async def test_a_stream_with_signed_thoughts(world, model):
    async with pair(world, SAID) as (client, _), client.messages.stream(**ASKED, model=model, tools=TOOLS) as stream:
        kinds = [event.type async for event in stream]
        message = await stream.get_final_message()
    assert {"thinking", "signature", "text", "input_json", "message_stop"} <= set(kinds)
    assert (message.content[0].thinking, message.content[0].signature, message.content[1].text) == ("hm", "c2ln", "tök€n 🙂")
    assert message.stop_reason == "tool_use" and message.usage.output_tokens == 3


@pytest.mark.parametrize("model", ["claude-public", "claude-virtual"])
async def test_a_refusal_is_the_upstreams_own(world, model):
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_theirs"}
    async with pair(world, Script(status=429, error=error, headers={"Retry-After": "9", "request-id": "req_theirs"})) as (client, _):
        with pytest.raises(anthropic.RateLimitError, match="slow down") as refused:
            async with client.messages.stream(**ASKED, model=model):
                pass
    assert refused.value.body == error and refused.value.request_id == "req_theirs"
    assert refused.value.response.headers["retry-after"] == "9"


async def test_tokens_are_counted_by_who_knows(world):
    async with pair(world, SAID) as (client, server):
        told = {"messages": ASKED["messages"], "tools": TOOLS}
        assert (await client.messages.count_tokens(model="claude-public", **told)).input_tokens == 17
        assert server.asked == {**told, "model": "claude-a"}


@pytest.mark.parametrize("model", ["claude-public", "claude-virtual"])
async def test_closing_a_stream_hangs_up_on_the_server(world, model):
    async with pair(world, Script(hang="stream")) as (client, server):
        stream = await client.messages.create(**ASKED, model=model, stream=True)
        await anext(aiter(stream))
        await stream.close()
        async with asyncio.timeout(1 + BUSY_S):
            await server.until(lambda: any(one.aborted for one in server.seen))
