"""The type "openai": requests and answers as they are, models by the list, no way to load one."""

from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import pytest
from aiohttp import web

from publisher.backends.openai import OpenAIBackend
from publisher.failures import BackendBroken, BackendUnreachable, RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.backend import Backend, Script
from tests.support.ending import end
from tests.support.engines import VLLM

BODY = b'{"model": "m", "messages": [], "n": 1.0}'


@pytest.mark.parametrize(
    ("operation", "path"),
    [("chat", "/v1/chat/completions"), ("completions", "/v1/completions"), ("embeddings", "/v1/embeddings")],
)
async def test_a_request_goes_to_its_operations_path_byte_for_byte(operation, path):
    async with Backend() as server, calling("openai", server.url) as backend:
        answer = await backend.infer(operation, BODY, False)
        said = await answer.read()
        answer.close()
    assert (answer.status, answer.content_type) == (200, "application/json") and json.loads(said)
    assert (server.seen[0].path, server.seen[0].body) == (path, BODY)
    assert server.seen[0].headers["Accept-Encoding"] == "identity"
    assert server.seen[0].headers["Accept"] == "application/json"


async def test_a_stream_arrives_while_it_is_made_and_closing_it_stops_the_work():
    async with Backend(script=Script(tokens=3, hang="stream")) as server, calling("openai", server.url) as backend:
        answer = await backend.infer("chat", b'{"stream": true}', True)
        first = await answer.content.readany()
        assert answer.content_type == "text/event-stream" and first.startswith(b"data: ")
        assert server.seen[0].headers["Accept"] == "text/event-stream"
        answer.close()
        await server.until(lambda: server.seen[0].aborted)


async def test_a_body_larger_than_a_mebibyte_arrives_whole():
    body = b'{"model": "m", "x": "' + b"y" * (3 << 20) + b'"}'
    async with Backend() as server, calling("openai", server.url) as backend:
        (await backend.infer("chat", body, False)).close()
        await server.until(lambda: server.seen)
    assert server.seen[0].body == body


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_refusal_is_an_answer_too(status):
    async with Backend(script=Script(status=status)) as server, calling("openai", server.url) as backend:
        answer = await backend.infer("chat", BODY, False)
        assert answer.status == status and b"scripted" in await answer.read()
        answer.close()


async def test_a_redirect_is_handed_on_and_never_followed():
    async with VLLM() as server, calling("openai", f"{server.url}/v1") as backend:
        server.faults["*"] = "redirect"
        answer = await backend.infer("chat", BODY, False)
        answer.close()
        assert answer.status == 307
        assert [seen.path for seen in server.seen] == ["/v1/chat/completions"]


async def test_a_server_that_is_away_refused_the_connection():
    async with Backend() as server:
        url = server.url
    async with calling("openai", url) as backend:
        with pytest.raises(BackendUnreachable, match=f"backend at {url} refused the connection"):
            await backend.infer("chat", BODY, False)
        with pytest.raises(BackendUnreachable):
            await backend.models()
        assert not await backend.available("m", False)


async def test_a_host_that_does_not_resolve_is_unreachable():
    async with calling("openai", "http://no-such-host.invalid/v1") as backend:
        with pytest.raises(BackendUnreachable, match="no-such-host.invalid"):
            await backend.infer("chat", BODY, False)


async def test_what_is_no_http_is_a_broken_backend():
    async with Backend(script=Script(malformed=True)) as server, calling("openai", server.url) as backend:
        with pytest.raises(BackendBroken, match="gave no proper answer"):
            await backend.infer("chat", BODY, False)


async def test_an_operation_of_a_newer_broker_is_refused():
    async with Backend() as server, calling("openai", server.url) as backend:
        with pytest.raises(BackendBroken, match='does not know the operation "rerank": update it'):
            await backend.infer("rerank", BODY, False)
    assert not server.seen


async def test_the_key_goes_along_as_a_bearer_token():
    async with VLLM(api_key="sk-1") as server, calling("openai", f"{server.url}/v1", "sk-1") as backend:
        assert await backend.models() == ["m"]
        assert await backend.available("m", False)
        assert await chat(backend) == 200
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-1"}


async def test_name_and_password_in_the_url_are_used_and_a_key_comes_before_them():
    async with VLLM() as server:
        url = server.url.replace("://", "://me:hunter2@") + "/v1"
        async with calling("openai", url) as backend:
            assert await backend.models() == ["m"]
        async with calling("openai", url, "sk-1") as backend:
            assert await backend.models() == ["m"]
    basic = "Basic " + base64.b64encode(b"me:hunter2").decode()
    assert [headers["Authorization"] for headers in server.headers] == [basic, "Bearer sk-1"]


async def test_a_query_in_the_url_goes_along_with_every_request():
    async with VLLM() as server, calling("openai", f"{server.url}/v1?api-version=2") as backend:
        await backend.models()
        (await backend.infer("chat", BODY, False)).close()
    assert [seen.path for seen in server.seen] == ["/v1/models?api-version=2", "/v1/chat/completions?api-version=2"]


@pytest.mark.parametrize("fault", ["half", "stall", "hang", "garbage", 500])
async def test_no_message_tells_a_secret(fault):
    async with VLLM() as server:
        server.faults["*"] = fault
        url = server.url.replace("://", "://me:hunter2@") + "/v1?key=hunter2"
        async with calling("openai", url, "sk-hunter2", 0.1) as backend:
            with pytest.raises(BackendBroken) as told:
                await backend.models()
    assert "hunter2" not in str(told.value) and f"backend at {server.url}/v1 " in str(told.value)


async def test_a_key_that_cannot_be_sent_is_not_told():
    async with VLLM() as server, calling("openai", f"{server.url}/v1", "sk-hunter2\nx") as backend:
        assert not await backend.available("m", False)
        for call in (backend.models(), backend.infer("chat", BODY, False)):
            with pytest.raises(BackendBroken, match="check the provider's url and apiKey") as told:
                await call
            assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(("status", "up"), [(200, True), (302, True), (401, True), (404, True), (500, False), (503, False)])
async def test_any_answer_below_500_is_a_server_that_is_up(status, up):
    async with VLLM() as server, calling("openai", f"{server.url}/v1") as backend:
        server.faults["/v1/models"] = status
        server.faults["/health"] = 404
        assert await backend.available("m", False) is up
        assert await backend.available("m", True) is up


async def test_a_prefix_before_v1_stays():
    async with VLLM() as server, calling("openai", f"{server.url}/llm/v1/") as backend:
        with pytest.raises(BackendBroken):
            await backend.models()
    assert server.seen[0].path == "/llm/v1/models"


async def test_it_tells_no_slots_and_cannot_load():
    async with Backend() as server, calling("openai", server.url) as backend:
        assert await backend.slots("m") is None
        with pytest.raises(RecipeFailed, match="type openai has no way of its own to load a model: use an http or command"):
            await backend.load("m", None)
        with pytest.raises(RecipeFailed, match="no way of its own to unload"):
            await backend.unload("m", 1)
    assert not server.seen and not server.checks


async def test_a_call_that_is_given_up_closes_its_connection():
    async with Backend(script=Script(hang="head")) as server, calling("openai", server.url) as backend:
        asking = asyncio.create_task(backend.infer("chat", BODY, False))
        await server.until(lambda: server.seen)
        asking.cancel()
        await server.until(lambda: server.seen[0].aborted)
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_server_that_dies_in_the_middle_of_a_stream_is_noticed():
    async with VLLM(script=Script(hang="stream")) as server, calling("openai", f"{server.url}/v1") as backend:
        answer = await backend.infer("chat", b'{"model": "m", "stream": true}', True)
        await answer.content.readany()
        await server.die()
        with pytest.raises((aiohttp.ClientError, OSError)):
            while await answer.content.readany():
                pass
        answer.close()
        with pytest.raises(BackendUnreachable):
            await backend.infer("chat", BODY, False)
        await server.revive()
        assert await chat(backend) == 200


async def test_a_server_whose_list_of_models_fails_is_available_when_it_says_that_it_is_well():
    healths = iter([200, 503])

    async def health(request: web.Request) -> web.Response:
        return web.Response(status=next(healths))

    async def models(request: web.Request) -> web.Response:
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as http:
            backend = OpenAIBackend(http, f"http://127.0.0.1:{runner.addresses[0][1]}/v1", None, 2.0)
            assert await backend.available("m", False) is True
            assert await backend.available("m", False) is False
    finally:
        await end(runner)
