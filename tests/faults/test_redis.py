"""What clients get while Redis dies, stalls, is full, read-only or moves: refusals that say when
to come again, never a duplicate, and service within seconds once it is back.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support import processes, servers
from tests.support.backend_seen import times_seen
from tests.support.live import Stream, error, word
from tests.support.places import Place
from tests.support.processes import client


def words(payloads: list[str]) -> list[str]:
    return [word(payload) for payload in payloads]


def expected(count: int) -> list[str]:
    return [f"tök€n{number} " for number in range(count)]


async def ends_well_or_says_so(stream: Stream, count: int, limit_s: float) -> bool:
    """Reads a stream to its end: a complete answer (True), or a piece of it and an error event."""
    payloads = await stream.rest(limit_s)
    assert payloads, "the stream ended silently"
    if payloads[-1] == "[DONE]":
        assert words(payloads[:-1]) == expected(count)
        return True
    assert error(payloads[-1])["status"] in (503, 504), payloads[-1]
    assert words(payloads[:-1]) == expected(count)[: len(payloads) - 1]
    return False


async def test_without_redis_requests_get_503_and_after_its_restart_service_is_back_within_3_s(system):
    async with system() as s:
        assert (await s.api.chat("m"))[0] == 200
        s.redis.kill()
        for _ in range(5):
            asked_at = time.monotonic()
            status, answer, headers = await s.api.chat("m")
            assert status == 503 and answer["error"]["code"] == "store_unavailable" and "Retry-After" in headers
            assert time.monotonic() - asked_at < 10
        assert (await s.api.call("GET", "/healthz"))[0] == 200
        assert (await s.api.call("GET", "/readyz"))[0] == 503
        await asyncio.to_thread(s.redis.start)
        await s.serves(within_s=3)
        assert (await s.api.llm("m"))["status"] == "active"


async def test_a_stream_survives_a_restart_of_redis_or_ends_with_an_error_event(system):
    async with system() as s, s.stream(tokens=40, delay_s=0.05) as stream:
        assert word(await stream.next()) == "tök€n0 "
        await asyncio.to_thread(s.redis.restart)
        payloads = await stream.rest(10)
        assert payloads[-1] == "[DONE]" or error(payloads[-1])["status"] in (503, 504), payloads
        got = words(payloads[:-1])
        assert got == expected(40)[1 : 1 + len(got)]
        await s.serves(within_s=3)


@pytest.mark.limit_s(90)
async def test_after_a_stall_of_3_s_nothing_was_lost_or_done_twice(system):
    async with system(replica_ttl_seconds=2) as s, s.stream(tokens=40, delay_s=0.05, words="tök€n") as stream:
        assert stream.status == 200
        s.redis.stop()
        asking = [asyncio.create_task(s.api.chat("m", user=f"stalled-{n}-")) for n in range(4)]
        await asyncio.sleep(3)  # the stall itself
        s.redis.cont()
        thawed_at = time.monotonic()
        answers = await asyncio.gather(*asking)
        assert {status for status, *_ in answers} <= {200, 503}, answers
        assert await ends_well_or_says_so(stream, 40, 10)
        assert time.monotonic() - thawed_at < 6
        for n in range(4):
            assert await times_seen(s.backend, f"stalled-{n}-") <= 1
        assert sum(status == 200 for status, *_ in answers) == 4, answers
        await s.serves(within_s=3)


@pytest.mark.limit_s(90)
async def test_a_stall_of_7_s_is_bounded_and_does_nothing_twice(system):
    async with system() as s, s.stream(tokens=40, delay_s=0.05) as stream:
        assert stream.status == 200
        s.redis.stop()
        stopped_at = time.monotonic()
        asking = [asyncio.create_task(s.api.chat("m", user=f"stalled-{n}-")) for n in range(4)]
        answers = await asyncio.gather(*asking)
        for status, answer, headers in answers:
            assert status == 503 and "Retry-After" in headers, answer
        assert time.monotonic() - stopped_at < 7
        await asyncio.sleep(max(0, stopped_at + 7 - time.monotonic()))  # the stall itself
        s.redis.cont()
        await ends_well_or_says_so(stream, 40, 10)
        await s.serves(within_s=3)
        for n in range(4):
            assert await times_seen(s.backend, f"stalled-{n}-") <= 1


async def test_a_full_redis_refuses_new_requests_and_lets_the_running_ones_finish(system):
    async with system() as s, s.stream(tokens=30, delay_s=0.05) as stream:
        assert word(await stream.next()) == "tök€n0 "
        s.redis.ask("CONFIG", "SET", "maxmemory", "1")
        status, answer, headers = await s.api.chat("m")
        assert status == 503 and answer["error"]["code"] == "store_unavailable" and "Retry-After" in headers, answer
        payloads = await stream.rest()
        assert words(payloads[:-1]) == expected(30)[1:] and payloads[-1] == "[DONE]"
        assert (await s.api.chat("m"))[0] == 503
        s.redis.ask("CONFIG", "SET", "maxmemory", "0")
        await s.serves(within_s=1)


async def test_a_read_only_redis_is_503_until_it_takes_writes_again(system):
    async with system() as s:
        s.redis.ask("REPLICAOF", "127.0.0.1", "1")
        for _ in range(3):
            status, answer, headers = await s.api.chat("m")
            assert status == 503 and answer["error"]["code"] == "store_unavailable" and "Retry-After" in headers, answer
        s.redis.ask("REPLICAOF", "NO", "ONE")
        await s.serves(within_s=3)


@pytest.fixture
def watched(tmp_path):
    """A primary, its replica and a Sentinel; and a stage on them."""
    with servers.sentinel(tmp_path / "sentinel") as redis:
        place = Place()
        place.url = redis.url
        with processes.stage(tmp_path, place) as stage:
            yield redis, stage


@pytest.mark.limit_s(90)
async def test_after_a_failover_by_sentinel_service_is_back(watched):
    redis, stage = watched
    broker, backend = await asyncio.gather(stage.broker().ready(), stage.backend().ready())
    await stage.publisher(broker.url, {"name": "m", "url": backend.url, "slots": 8}).ready()
    async with client(broker.url) as api:
        assert (await api.chat("m"))[0] == 200
        failover = asyncio.create_task(asyncio.to_thread(redis.kill_primary))
        while not failover.done():
            asked_at = time.monotonic()
            status, answer, headers = await api.chat("m")
            assert status == 200 or (status == 503 and "Retry-After" in headers), answer
            assert time.monotonic() - asked_at < 8
            await asyncio.sleep(0.1)
        await failover
        until = time.monotonic() + 3
        while (await api.chat("m"))[0] != 200:
            assert time.monotonic() < until, await api.chat("m")
            await asyncio.sleep(0.05)
