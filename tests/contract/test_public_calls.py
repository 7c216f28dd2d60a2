"""Requests to public LLMs: the broker calls the upstream itself, and all else is as with a publisher."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress

import pytest

from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked, stream, streaming
from tests.support.waiting import eventually

SECOND = 1.0
SAY = {"messages": [{"role": "user", "content": "hi"}]}


async def none_running(place) -> bool:
    left = [key for key in await place.keys() if key.startswith((b"task:", b"asked:", b"leases:"))]
    return not left and not await place.read("timers")


async def test_a_request_reaches_the_upstream_with_the_rows_model_and_key(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(echo=True)) as upstream:
        await make_llm(broker, "gpt", upstream.url, key="sk-1", model="real", aliases=["best"])
        body = {**SAY, "temperature": 0.30000000000000004, "unknown": {"x": [1, None]}, "n": 12345678901234567890}
        for name in ("gpt", "best"):
            status, answer, _ = await broker.call("POST", "/v1/chat/completions", {"model": name, **body})
            assert status == 200 and answer == {"model": "real", **body}
        seen = upstream.seen[-1]
        assert seen.path == "/v1/chat/completions" and seen.headers["Authorization"] == "Bearer sk-1"
        assert json.loads(seen.body) == {"model": "real", **body}
        await eventually(lambda: none_running(redis_at))


async def test_without_a_key_none_is_sent_and_the_callers_token_stays_here(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "gpt", upstream.url)
        assert (await broker.chat("gpt", headers={"Authorization": "Bearer rv_mine", "Cookie": "a=b"}))[0] == 200
        assert not {"Authorization", "Cookie"} & set(upstream.seen[0].headers)


@pytest.mark.parametrize(("path", "at"), [("/v1/completions", "completions"), ("/v1/embeddings", "embeddings")])
async def test_completions_and_embeddings_have_their_own_paths(redis_at, path, at):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "gpt", upstream.url)
        assert (await broker.call("POST", path, {"model": "gpt", "prompt": "x", "input": "x"}))[0] == 200
        assert upstream.seen[0].path == f"/v1/{at}"


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/api"])
async def test_ollama_is_asked_by_its_openai_api(redis_real, ending):
    async with replica(redis_real, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "o", upstream.url.removesuffix("/v1") + ending, type="ollama")
        assert (await broker.call("POST", "/api/v1/llms/o/infer", SAY))[0] == 200
        assert upstream.seen[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("shape", [{}, {"torn": True}, {"crlf": True}, {"comments": True}, {"no_done": True}, {"no_space": True}])
async def test_a_stream_passes_byte_for_byte_and_ends_in_done(redis_at, shape):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "gpt", upstream.url)
        plain = await stream(broker, "gpt")
        upstream.script = Script(**shape)
        said = await stream(broker, "gpt")
        assert said.status == 200 and said.payloads[-1] == b"[DONE]" and "tök€n".encode() in said.body
        assert [json.loads(one)["choices"] for one in said.payloads[:-1]] == [json.loads(one)["choices"] for one in plain.payloads[:-1]]
        await eventually(lambda: none_running(redis_at))


async def test_each_token_leaves_when_it_was_said(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(hang="stream")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        async with streaming(broker, "gpt") as response, asyncio.timeout(20):
            assert "tök€n".encode() in await response.content.readany()


@pytest.mark.parametrize("stream_it", [False, True])
@pytest.mark.parametrize(("status", "retry"), [(400, ""), (401, ""), (429, "7"), (500, ""), (503, "3")])
async def test_an_upstreams_refusal_is_passed_as_it_was_said(redis_at, status, retry, stream_it):
    async with replica(redis_at, **HERE) as broker, Backend(Script(status=status, retry_after=retry)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        got, body, headers = await broker.chat("gpt", stream=stream_it)
        assert got == status and body["error"] == {"message": "scripted", "type": "scripted", "code": "scripted"}
        assert headers.get("Retry-After", "") == retry


async def test_an_upstream_that_is_away_is_502_and_tells_no_secret(redis_at):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with replica(redis_at, **HERE) as broker:
            await make_llm(broker, "gpt", f"http://127.0.0.1:{unused.getsockname()[1]}/v1?code=hush", key="sk-secret")
            for stream_it in (False, True):
                status, body, _ = await broker.chat("gpt", stream=stream_it)
                assert status == 502 and body["error"]["code"] == "upstream_unreachable"
                assert "sk-secret" not in repr(body) and "hush" not in repr(body)
            await eventually(lambda: none_running(redis_at))


async def test_a_name_that_does_not_resolve_is_502(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", "http://no-such-host.invalid/v1")
        status, body, _ = await broker.chat("gpt")
        assert status == 502 and body["error"]["code"] == "upstream_unreachable"


async def test_what_is_no_http_is_502(redis_real):
    async with replica(redis_real, **HERE) as broker, Backend(Script(malformed=True)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        status, body, _ = await broker.chat("gpt")
        assert status == 502 and body["error"]["code"] == "backend_error"


async def test_a_stream_that_breaks_off_ends_with_an_error_event(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(tokens=5, break_after=2)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        said = await stream(broker, "gpt")
        assert said.status == 200 and said.error["status"] == 502 and b"[DONE]" not in said.body


async def test_an_event_of_the_upstreams_cannot_be_forged(redis_real):
    async with replica(redis_real, **HERE) as broker, Backend(Script(comments=True, crlf=True)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        assert all(line.startswith(b"data: ") for line in (await stream(broker, "gpt")).body.split(b"\n") if line)


@pytest.mark.parametrize("hang", ["head", "stream"])
async def test_a_client_that_leaves_stops_the_upstream_within_a_second(redis_at, hang):
    async with replica(redis_at, **HERE) as broker, Backend(Script(hang=hang)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        client = asked(broker.chat("gpt", stream=True))
        await upstream.until(lambda: len(upstream.seen) == 1)
        client.cancel()
        with suppress(asyncio.CancelledError):
            await client
        await upstream.until(lambda: upstream.seen[0].aborted, SECOND)
        await eventually(lambda: none_running(redis_at))


@pytest.mark.parametrize("hang", ["head", "stream"])
async def test_delete_at_any_replica_stops_the_upstream_within_a_second(redis_at, hang):
    async with replica(redis_at, **HERE) as broker, replica(redis_at, **HERE) as other, Backend(Script(hang=hang)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        client = asked(stream(broker, "gpt") if hang == "stream" else broker.chat("gpt"))
        await upstream.until(lambda: len(upstream.seen) == 1)
        task = await eventually(lambda: next(iter(broker.broker.post.exchanges), None))
        assert (await other.call("DELETE", f"/api/v1/requests/{task.decode()}"))[0] == 200
        await upstream.until(lambda: upstream.seen[0].aborted, SECOND)
        error = (await client).error if hang == "stream" else (await client)[1]["error"]
        assert error["code"] == "request_cancelled"
        assert (await other.call("DELETE", f"/api/v1/requests/{task.decode()}"))[0] == 404


async def test_a_deadline_stops_the_upstream(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(hang="head")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        status, body, _ = await broker.chat("gpt", headers={"X-Deadline-Seconds": "0.2"})
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        await upstream.until(lambda: upstream.seen[0].aborted, SECOND)
        await eventually(lambda: none_running(redis_at))


async def test_a_silent_upstream_is_told_in_the_stream(redis_real):
    async with replica(redis_real, **HERE, idle_seconds=0.2) as broker, Backend(Script(hang="stream")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        assert (await stream(broker, "gpt")).error["code"] == "stream_stalled"


async def test_a_waiting_stream_gets_comments(redis_real):
    slow = Script(delay_s=0.3, tokens=1)
    async with replica(redis_real, **HERE, comment_first_seconds=0.05, comment_every_seconds=0.05) as broker, Backend(slow) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        said = await stream(broker, "gpt")
        assert said.status == 200 and said.comments >= 1 and said.payloads[-1] == b"[DONE]"


async def test_more_calls_than_the_setting_allows_are_429(redis_at):
    async with replica(redis_at, **HERE, upstream_requests=1) as broker, Backend(Script(hang="head")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        client = asked(broker.chat("gpt", headers={"X-Deadline-Seconds": "5"}))
        await upstream.until(lambda: len(upstream.seen) == 1)
        status, body, headers = await broker.chat("gpt")
        assert status == 429 and body["error"]["code"] == "queue_full" and headers["Retry-After"]
        client.cancel()
        with suppress(asyncio.CancelledError):
            await client
        upstream.script = Script()

        async def free() -> bool:
            return (await broker.chat("gpt"))[0] == 200

        await eventually(free)
        await eventually(lambda: none_running(redis_at))


async def test_an_answer_larger_than_the_limit_is_refused(redis_real):
    async with replica(redis_real, **HERE, max_result_bytes=50_000) as broker, Backend(Script(echo=True)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        assert (await broker.chat("gpt", pad="x" * 40_000))[0] == 200
        status, body, _ = await broker.chat("gpt", pad="x" * 60_000)
        assert status == 502 and "larger than 50,000" in body["error"]["message"]


async def test_a_large_request_and_answer_pass_whole(redis_real):
    async with replica(redis_real, **HERE) as broker, Backend(Script(echo=True)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        status, body, _ = await broker.chat("gpt", pad="x" * 6_000_000)
        assert status == 200 and len(body["pad"]) == 6_000_000


async def test_a_dead_replicas_calls_are_forgotten(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(hang="head")) as upstream:
        async with replica(redis_at, **HERE, replica_ttl_seconds=0.3) as dying:
            await make_llm(broker, "gpt", upstream.url)
            client = asked(dying.chat("gpt"))
            await upstream.until(lambda: len(upstream.seen) == 1)
            await dying.die()
            with suppress(Exception):
                await client
        await eventually(lambda: none_running(redis_at), 10)


async def test_a_name_that_becomes_a_publishers_is_relayed_at_once(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "m", upstream.url)
        assert (await broker.chat("m"))[0] == 200
        assert (await broker.call("DELETE", "/api/v1/llms/m"))[0] == 204
        assert (await broker.chat("m"))[0] == 404
        async with Provider(broker, "m") as provider:
            client = asked(broker.chat("m", seed=7))
            frame = await provider.next()
            assert frame["request"]["seed"] == 7
            await provider.answer(frame, {"here": True})
            assert (await client)[1] == {"here": True}
        assert len(upstream.seen) == 1


async def test_what_was_asked_is_not_kept(redis_real):
    async with replica(redis_real, **HERE) as broker, Backend(Script(hang="head")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        client = asked(broker.chat("gpt", secret_prompt="hush-hush"))
        await upstream.until(lambda: len(upstream.seen) == 1)
        assert "hush-hush" not in repr([await redis_real.read(key.decode()) for key in await redis_real.keys()])
        client.cancel()
        with suppress(asyncio.CancelledError):
            await client
        await eventually(lambda: none_running(redis_real))
