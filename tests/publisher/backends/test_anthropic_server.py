"""The anthropic backend and its server's life: hanging up, the list of models, being available."""

from __future__ import annotations

import asyncio
import json

import pytest

from publisher.failures import BackendBroken, RecipeFailed
from tests.publisher.backends.anthropic_asking import HELLO, ask, backend_at, chunks, pair, whole
from tests.support.engines.anthropic import Anthropic, Script

# ── stopping ────────────────────────────────────────────────────────────────


async def test_closing_the_answer_hangs_up_on_the_server():
    async with pair(Script(hang="stream")) as (server, backend):
        answer = await backend.infer("chat", json.dumps(HELLO).encode(), True)
        assert b"role" in await answer.content.readany()
        assert not answer.content.at_eof()
        answer.close()
        await server.until(lambda: server.seen[0].aborted)


async def test_a_caller_that_gives_up_before_the_answer_hangs_up_too():
    async with pair(Script(hang="head")) as (server, backend):
        asking = asyncio.create_task(ask(backend))
        await server.until(lambda: server.seen)
        asking.cancel()
        await asyncio.wait([asking])
        await server.until(lambda: server.seen[0].aborted)


async def test_answers_that_were_read_to_their_end_share_a_connection():
    async with pair() as (_, backend):
        for _ in range(3):
            await whole(backend)
            await chunks(backend)
        connector = backend._http.connector
        assert sum(len(idle) for idle in connector._conns.values()) == 1


# ── models, availability, loading ───────────────────────────────────────────


async def test_models_are_read_page_by_page_in_their_order():
    async with pair(key="k") as (server, backend):
        server.key = "k"
        assert await backend.models() == ["claude-a", "claude-b", "claude-c"]
        assert [one.path for one in server.seen] == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=claude-b"]


async def test_a_list_that_never_ends_is_cut():
    endless = b'{"data":[{"id":"a"}],"has_more":true}'
    async with pair(models_answer=(200, endless)) as (server, backend):
        assert set(await backend.models()) == {"a"}
        assert len(server.seen) == 20


async def test_an_empty_page_is_the_last():
    async with pair(models_answer=(200, b'{"data":[],"has_more":true}')) as (server, backend):
        assert await backend.models() == [] and len(server.seen) == 1


async def test_a_local_servers_list_is_one_page():
    async with pair(models_answer=(200, b'{"object":"list","data":[{"id":"qwen3","object":"model"}]}')) as (_, backend):
        assert await backend.models() == ["qwen3"]


@pytest.mark.parametrize("status, body, says", [
    (200, b"<html>", "check the provider's type"), (200, b'{"data":"x"}', "check the provider's type"), (200, b'{"data":[{"id":5}]}', "check the provider's type"),
    (200, b'{"x":' + b"[" * 9000, "check the provider's type"), (404, b"{}", "answered 404"), (302, b"", "answered 302"),
    (401, b"{}", "set the provider's apiKey"), (403, b"{}", "set the provider's apiKey"), (500, b"{}", "answered 500"),
])
async def test_a_list_that_cannot_be_used_says_why(status, body, says):
    async with pair(models_answer=(status, body)) as (_, backend):
        with pytest.raises(BackendBroken, match=says):
            await backend.models()


@pytest.mark.parametrize("status, is_up", [(200, True), (401, True), (404, True), (500, False), (503, False), (529, False)])
async def test_it_is_available_when_something_answers(status, is_up):
    async with pair(models_answer=(status, b"nonsense")) as (_, backend):
        assert await backend.available("claude-a", False) is is_up
        assert await backend.available("claude-a", True) is is_up


async def test_a_server_that_hangs_is_not_available():
    async with Anthropic(script=Script(hang="head")) as server, backend_at(server.url, check_timeout_s=0.05) as backend:
        assert not await backend.available("claude-a", False)
        with pytest.raises(BackendBroken, match="no answer in time"):
            await backend.models()


async def test_it_tells_no_slots_and_loads_nothing():
    async with pair() as (server, backend):
        assert await backend.slots("claude-a") is None
        with pytest.raises(RecipeFailed, match="http or command"):
            await backend.load("claude-a", None)
        with pytest.raises(RecipeFailed, match="http or command"):
            await backend.unload("claude-a", None)
        assert not server.seen
