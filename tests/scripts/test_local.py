"""Looking for a local LLM server: what may be offered, and what is no such server."""

from __future__ import annotations

import json

from aiohttp import web

from scripts.demo import local
from tests.scripts.running import free_port
from tests.support.backend import Backend


async def test_a_server_that_lists_models_is_offered_and_asked_for_nothing_else():
    async with Backend() as backend:
        found = await local.models({backend.port: "Ollama", free_port(): "vLLM"})
        assert found == [local.LocalModel("Ollama", f"http://127.0.0.1:{backend.port}/v1", "m")]
        assert backend.seen == []


async def test_a_broker_embedding_models_and_strange_answers_are_not_offered():
    answers = [
        {"data": [{"id": "x", "owned_by": "reveille"}]}, {"data": [{"id": "nomic-embed-text"}]},
        {"data": None}, {"data": ["x"]}, [], "hello",
    ]
    for answer in answers:
        assert await _offered(json.dumps(answer)) == [], answer
    assert await _offered("<html>") == []
    assert await _offered('{"data": [{"id": "x"}]}', status=401) == []


async def test_a_server_that_does_not_answer_in_time_is_not_offered():
    async with Backend() as backend:
        assert await local.models({backend.port: "slow"}, timeout_s=1e-6) == []


async def _offered(text: str, status: int = 200) -> list[local.LocalModel]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/models", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await local.models({runner.addresses[0][1]: "any"})
    finally:
        await runner.cleanup()
