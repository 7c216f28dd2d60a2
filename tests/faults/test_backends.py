"""Backends that misbehave, behind a real publisher: the client is told, in time, in the API's shape."""

from __future__ import annotations

import asyncio
import time

import pytest

from scripts.ports import free_port
from tests.support import processes
from tests.support.backend_seen import times_seen, until_seen
from tests.support.live import Stream, error, word
from tests.support.places import ServerPlace
from tests.support.processes import client
from tests.support.waiting import BUSY_S


@pytest.fixture(scope="module")
def world(real_server, tmp_path_factory):
    """(broker, backend): two processes that all tests here share; ``m`` is served, ``nobody`` is not."""
    with processes.stage(tmp_path_factory.mktemp("backends"), ServerPlace(real_server)) as stage:
        broker, backend = stage.broker(idle_seconds=1), stage.backend()
        broker.wait_ready()
        backend.wait_ready()
        nowhere = f"http://127.0.0.1:{free_port()}/v1"
        stage.publisher(
            broker.url, {"name": "m", "url": backend.url, "slots": 8}, {"name": "nobody", "url": nowhere}
        ).wait_ready()
        yield broker, backend


@pytest.mark.parametrize("streaming", [False, True])
async def test_garbage_instead_of_http_is_502(world, streaming):
    async with client(world[0].url) as api:
        status, answer, _ = await api.chat("m", stream=streaming, script={"malformed": True})
    assert status == 502 and answer["error"]["code"] == "backend_error", answer


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_backend_that_never_answers_is_504_at_the_deadline_and_is_stopped(world, streaming):
    broker, backend = world
    marker = f"never-{streaming}"
    async with client(broker.url) as api:
        asked_at = time.monotonic()
        status, answer, _ = await api.chat(
            "m", stream=streaming, user=marker, script={"hang": "head"}, headers={"X-Deadline-Seconds": "1"}
        )
        took_s = time.monotonic() - asked_at
    assert status == 504 and answer["error"]["code"] == "deadline_exceeded", answer
    assert 0.9 < took_s < 2 + BUSY_S
    await until_seen(backend, lambda one: marker in one["body"] and one["aborted"], 1 + BUSY_S)


async def test_a_backend_that_falls_silent_in_mid_stream_ends_it_with_an_error_event_and_is_stopped(world):
    broker, backend = world
    async with client(broker.url) as api, Stream(api, "m", user="silent", script={"hang": "stream"}) as stream:
        payloads = await stream.rest(5)
        assert [word(p) for p in payloads[:-1]] == ["tök€n0 ", "tök€n1 ", "tök€n2 "]
        assert error(payloads[-1])["code"] == "stream_stalled" and error(payloads[-1])["status"] == 504
    await until_seen(backend, lambda one: "silent" in one["body"] and one["aborted"], 1 + BUSY_S)


async def test_a_backend_that_dies_in_mid_stream_ends_it_with_an_error_event(world):
    async with client(world[0].url) as api, Stream(
        api, "m", script={"tokens": 6, "break_after": 3, "delay_s": 0.02}
    ) as stream:
        payloads = await stream.rest(5)
    assert stream.status == 200 and [word(p) for p in payloads[:-1]] == ["tök€n0 ", "tök€n1 ", "tök€n2 "]
    assert error(payloads[-1])["code"] == "backend_error" and error(payloads[-1])["status"] == 502


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_backends_own_refusal_is_passed_on_as_it_is(world, status, streaming):
    async with client(world[0].url) as api:
        got, answer, headers = await api.chat(
            "m", stream=streaming, script={"status": status, "retry_after": "7"}
        )
    assert got == status and answer == {"error": {"message": "scripted", "type": "scripted", "code": "scripted"}}
    assert headers["Retry-After"] == "7" and headers["Content-Type"].startswith("application/json")
    assert headers["X-Request-Id"].startswith("req_")


async def test_a_page_of_html_is_passed_on_with_its_type(world):
    async with client(world[0].url) as api:
        status, answer, headers = await api.chat("m", stream=True, script={"html": True, "status": 502})
    assert status == 502 and answer == b"<h1>oops</h1>" and headers["Content-Type"].startswith("text/html")


async def test_bytes_that_are_not_utf_8_are_passed_on_as_they_are(world):
    async with client(world[0].url) as api:
        status, answer, _ = await api.chat("m", script={"latin1": True})
    assert status == 200 and answer == b"caf\xe9"


async def test_a_backend_that_nobody_runs_and_nobody_can_wake_is_502(world):
    async with client(world[0].url) as api:
        status, answer, _ = await api.chat("nobody")
    assert status == 502 and answer["error"]["code"] == "backend_unreachable", answer
    assert "refused" in answer["error"]["message"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_client_that_hangs_up_stops_its_backend_and_nobody_elses(world, streaming):
    broker, backend = world
    gone, stays = f"gone-{streaming}", f"stays-{streaming}"
    async with client(broker.url) as api, Stream(api, "m", user=stays, script={"tokens": 20, "delay_s": 0.05}) as other:
        leaving = asyncio.create_task(api.chat("m", stream=streaming, user=gone, script={"hang": "head"}))
        await until_seen(backend, lambda one: gone in one["body"], 5)
        leaving.cancel()
        await until_seen(backend, lambda one: gone in one["body"] and one["aborted"], 1 + BUSY_S)
        payloads = await other.rest()
        assert len(payloads) == 21 and payloads[-1] == "[DONE]"
    assert await times_seen(backend, gone) == 1
