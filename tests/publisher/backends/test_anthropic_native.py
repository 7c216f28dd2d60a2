"""A publisher in front of an Anthropic server whose callers speak its API too: nothing is translated, the cost is counted."""

from __future__ import annotations

import json

import pytest

from tests.publisher.running import scene
from tests.support.engines.anthropic import Anthropic, Script, event, stream, text, thinking

ASKED = {
    "model": "x", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "adaptive"},
    "tools": [{"type": "web_search_20250305", "name": "web_search"}], "odd": [1, None],
}
BETAS = {"anthropic-version": "2024-01-01", "anthropic-beta": "a-1,b-2"}
COST = {"promptTokens": 5, "completionTokens": 3, "totalTokens": 8}


def server(script: Script | None = None) -> Anthropic:
    return Anthropic(script or Script(), key="sk-1", strict=False)


async def infer(s, *, streaming: bool = False, headers: dict | None = None, **more):
    request = {**ASKED, **({"stream": True} if streaming else {}), **more}
    return await s.broker.infer(request, operation="messages", streaming=streaming, headers=headers or {})


async def ended(s, **more):
    return await s.broker.ended(await infer(s, **more))


@pytest.mark.parametrize(("kind", "operations"), [("anthropic", ["chat", "messages"]), ("openai", None)])
async def test_the_broker_is_told_what_it_takes(kind, operations):
    async with server() as upstream, scene(type=kind, url=upstream.url) as s:
        assert s.broker.registrations[0]["providers"][0].get("operations") == operations


async def test_a_request_passes_as_it_came_with_the_headers_of_the_api_and_no_others():
    async with server() as upstream, scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
        told = await ended(s, headers={**BETAS, "x-api-key": "sk-other", "host": "evil"})
        assert told.last["status"] == 200 and upstream.asked == {**ASKED, "model": "real"}
        seen = upstream.last.headers
        assert {name: seen[name] for name in BETAS} == BETAS and seen["x-api-key"] == "sk-1" and seen["Host"] != "evil"
        assert (await ended(s)).last["status"] == 200
        assert upstream.last.headers["anthropic-version"] == "2023-06-01"


async def test_a_whole_answer_passes_byte_for_byte_and_is_counted():
    raw = b'{ "usage":{"input_tokens":5,"output_tokens":3},\n "odd": 1.0}'
    async with server(Script(raw=raw, headers={"request-id": "req_theirs"})) as upstream:
        async with scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
            last = (await ended(s)).last
            assert (last["body"], last["usage"], last["headers"]["request-id"]) == (raw.decode(), COST, "req_theirs")


@pytest.mark.parametrize("write_bytes", [0, 1])
async def test_a_stream_passes_payload_by_payload_and_is_counted(write_bytes):
    script = Script(blocks=(thinking("hm"), text()), write_bytes=write_bytes)
    async with server(script) as upstream, scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
        told = await ended(s, streaming=True)
        said = [line[6:] for line in stream({"model": "real"}, script).decode().split("\n") if line.startswith("data: ")]
        assert told.payloads == [*said, "[DONE]"] and told.last["usage"] == COST


async def test_refusals_and_errors_in_a_stream_pass_as_they_are():
    error = {"type": "overloaded_error", "message": "busy"}
    async with server(Script(status=529, error=error, headers={"Retry-After": "7"})) as upstream:
        async with scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
            last = (await ended(s, streaming=True)).last
            assert (last["status"], json.loads(last["body"]), last["headers"]["retry-after"]) == (529, error, "7")
            upstream.script = Script(error=error)
            told = await ended(s, streaming=True)
            assert json.loads(told.payloads[-2]) == {"type": "error", "error": error} and told.last["chunk"]["done"]


@pytest.mark.parametrize("script", [Script(cut_after=700), Script(raw=event({"type": "ping"}))], ids=["cut", "ended too early"])
async def test_a_stream_that_breaks_off_is_told_as_broken(script):
    async with server(script) as upstream, scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
        last = (await ended(s, streaming=True)).last
        assert last["code"] == "backend_error" and "closed the stream" in last["error"]


async def test_a_cancelled_message_hangs_up_on_the_server():
    async with server(Script(hang="stream")) as upstream, scene(type="anthropic", url=upstream.url, api_key="sk-1") as s:
        task = await infer(s, streaming=True)
        await upstream.until(lambda: [one for one in upstream.seen if one.method == "POST"])
        await s.broker.send(kind="cancel", taskId=s.broker.id_of(task), reason="gone")
        await upstream.until(lambda: any(one.aborted for one in upstream.seen))


async def test_another_type_says_that_it_does_not_know_messages():
    async with scene() as s:
        last = (await ended(s)).last
        assert last["code"] == "backend_error" and '"messages"' in last["error"]
