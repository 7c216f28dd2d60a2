"""Resumable streams before real processes: replicas die and leave in mid-stream, and the stream is read on elsewhere."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.support.backend_seen import seen
from tests.support.balancer import balancer
from tests.support.processes import client
from tests.support.resumed import RESUMABLE, events, read_event, rest, resume

TOKENS = 30
SLOW = {"tokens": TOKENS, "delay_s": 0.1}


def words(heard: list[tuple[str, bytes]]) -> list[str]:
    """What the tokens say; the last event is [DONE]."""
    assert heard[-1][1] == b"[DONE]", heard[-1]
    return [json.loads(payload)["choices"][0]["delta"]["content"] for _, payload in heard[:-1]]


EXPECTED = [f"tök€n{number} " for number in range(TOKENS)]


async def begin(api, **script) -> tuple[aiohttp.ClientResponse, str, list[tuple[str, bytes]]]:
    """A stream of which some events were heard."""
    body = {"model": "m", "messages": [], "stream": True, "script": {**SLOW, **script}}
    response = await api.http.post(api.url + "/v1/chat/completions", json=body, headers=RESUMABLE)
    assert response.status == 200
    return response, response.headers["X-Stream-Id"], [await read_event(response) for _ in range(3)]


async def heard_till_the_break(response: aiohttp.ClientResponse) -> list[tuple[str, bytes]]:
    """What still comes before the connection breaks; torn events and the replica's own words do not count."""
    body = b""
    try:
        while chunk := await response.content.readany():
            body += chunk
    except aiohttp.ClientError:
        pass
    finally:
        response.close()
    return [one for one in events(body[: body.rfind(b"\n\n") + 2]) if one[0]]


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("publisher_at", ["the other", "the killed one"])
async def test_a_killed_replicas_stream_is_read_on_at_another_and_generated_once(stage, publisher_at):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    order = (two.url, one.url) if publisher_at == "the other" else (one.url, two.url)
    async with balancer(*order) as front, client(one.url) as api_1, client(two.url) as api_2:
        await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 4}).ready()
        response, name, heard = await begin(api_1)
        one.kill()
        heard += await heard_till_the_break(response)
        assert len(heard) < TOKENS
        heard += await rest(api_2, name, heard[-1][0])
        assert words(heard) == EXPECTED
        # The same again, to the byte, from the beginning.
        assert await rest(api_2, name) == heard
        asked = await seen(backend)
        assert len(asked) == 1 and asked[0]["finished"] and not asked[0]["aborted"]


@pytest.mark.limit_s(90)
async def test_a_replica_that_is_told_to_stop_leaves_its_streams_to_others(stage):
    one, two, backend = await asyncio.gather(
        stage.broker(shutdown_seconds=0.3).ready(), stage.broker().ready(), stage.backend().ready()
    )
    async with balancer(two.url, one.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        await stage.publisher(front, {"name": "m", "url": backend.url}).ready()
        response, name, heard = await begin(api_1)
        one.terminate()
        heard += await heard_till_the_break(response)
        heard += await rest(api_2, name, heard[-1][0])
        assert words(heard) == EXPECTED
        assert len(await seen(backend)) == 1


@pytest.mark.limit_s(90)
async def test_clients_that_come_back_all_at_once_and_break_off_again_read_the_same(stage):
    one, two, three, backend = await asyncio.gather(
        stage.broker().ready(), stage.broker().ready(), stage.broker().ready(), stage.backend().ready()
    )
    async with client(one.url) as api_1, client(two.url) as api_2, client(three.url) as api_3:
        await stage.publisher(two.url, {"name": "m", "url": backend.url}).ready()
        response, name, heard = await begin(api_1)

        async def wanderer(number: int) -> list[tuple[str, bytes]]:
            got = heard[:1]
            while got[-1][1] != b"[DONE]":
                async with resume((api_2, api_3)[number % 2], name, got[-1][0]) as answer:
                    for _ in range(number % 4 + 1):
                        if got[-1][1] != b"[DONE]":
                            got.append(await read_event(answer, 10))
                number += 1
            return got

        wanderers = [asyncio.create_task(wanderer(number)) for number in range(8)]
        one.kill()
        response.close()
        found = await asyncio.gather(*wanderers)
        whole = await rest(api_3, name)
        assert words(whole) == EXPECTED and all(got == whole for got in found)
        assert len(await seen(backend)) == 1


@pytest.mark.limit_s(90)
async def test_a_request_sent_again_after_its_replica_was_killed_is_answered_by_the_first_work(stage):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    async with client(one.url) as api_1, client(two.url) as api_2:
        await stage.publisher(two.url, {"name": "m", "url": backend.url, "slots": 4}).ready()
        body = {"model": "m", "messages": [], "script": {"tokens": 10, "delay_s": 0.1}}
        ask = {"json": body, "headers": {"Idempotency-Key": "k"}}
        first = asyncio.create_task(api_1.http.post(api_1.url + "/v1/chat/completions", **ask))
        while not await seen(backend):
            await asyncio.sleep(0.02)
        one.kill()
        with pytest.raises(aiohttp.ClientError):
            await first
        answers = []
        for _ in range(2):
            async with api_2.http.post(api_2.url + "/v1/chat/completions", **ask) as answer:
                assert answer.status == 200 and answer.headers["Idempotency-Replayed"] == "true"
                answers.append(await answer.read())
        assert answers[0] == answers[1] and b"choices" in answers[0]
        assert len(await seen(backend)) == 1


@pytest.mark.limit_s(90)
async def test_a_stream_whose_clients_replica_was_killed_is_stopped_when_nobody_comes_back(stage):
    settings = {"resume_seconds": 0.5}
    one, two, backend = await asyncio.gather(
        stage.broker(**settings).ready(), stage.broker(**settings).ready(), stage.backend().ready()
    )
    async with client(one.url) as api_1, client(two.url) as api_2:
        await stage.publisher(two.url, {"name": "m", "url": backend.url}).ready()
        response, name, heard = await begin(api_1, tokens=200)
        one.kill()
        response.close()
        async with asyncio.timeout(10):
            while not (await seen(backend))[0]["aborted"]:
                await asyncio.sleep(0.05)
        assert json.loads((await rest(api_2, name, heard[-1][0]))[-1][1])["error"]["code"] == "request_cancelled"
        assert (await api_2.chat("m"))[0] == 200
