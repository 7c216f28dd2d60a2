"""Two replicas and two publishers, as real processes that die and leave."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from scripts.ports import free_port
from tests.support.backend_seen import until_seen
from tests.support.balancer import balancer
from tests.support.live import Stream, error, word
from tests.support.processes import client
from tests.support.waiting import BUSY_S

SLOW = {"tokens": 25, "delay_s": 0.1}


def expected(count: int) -> list[str]:
    return [f"tök€n{number} " for number in range(count)]


async def test_any_replica_reaches_any_publisher(stage):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    async with client(one.url) as api_1, client(two.url) as api_2:
        await asyncio.gather(
            stage.publisher(one.url, {"name": "a", "url": backend.url}).ready(),
            stage.publisher(two.url, {"name": "b", "url": backend.url}).ready(),
        )
        for api in (api_1, api_2):
            for name in ("a", "b"):
                assert (await api.chat(name))[1]["model"] == name
                async with Stream(api, name) as stream:
                    payloads = await stream.rest()
                assert [word(p) for p in payloads[:-1]] == expected(3) and payloads[-1] == "[DONE]"


@pytest.mark.limit_s(90)
async def test_a_killed_replica_costs_only_the_requests_of_its_own_clients(stage):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    async with balancer(one.url, two.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        publisher = await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 4}).ready()
        async with Stream(api_1, "m", script=SLOW) as dying, Stream(api_2, "m", script=SLOW) as living:
            assert word(await dying.next()) == "tök€n0 "
            assert word(await living.next()) == "tök€n0 "
            one.kill()
            killed_at = time.monotonic()
            with pytest.raises(aiohttp.ClientError):
                await dying.rest()
            while publisher.log().count("channel open") < 2:
                assert time.monotonic() - killed_at < 3 + BUSY_S, "the publisher is not back"
                await asyncio.sleep(0.02)
            payloads = await living.rest()
        assert [word(p) for p in payloads[:-1]] == expected(25)[1:] and payloads[-1] == "[DONE]"
        await until_seen(backend, lambda one: one["aborted"], 5)
        assert (await api_2.chat("m"))[0] == 200


async def test_a_replica_that_is_started_again_on_its_port_serves_again_within_10_s(stage):
    port = free_port()
    broker, backend = await asyncio.gather(stage.broker(port=port).ready(), stage.backend().ready())
    publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}).ready()
    broker.kill()
    again = await stage.broker(port=port).ready()
    started_at = time.monotonic()
    async with client(again.url) as api:
        while (await api.chat("m"))[0] != 200:
            assert time.monotonic() - started_at < 10, publisher.log()
            await asyncio.sleep(0.05)


async def test_a_publisher_killed_before_the_first_byte_is_503(stage):
    broker, backend = await asyncio.gather(stage.broker(reconnect_grace_seconds=0.3).ready(), stage.backend().ready())
    async with client(broker.url) as api:
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}).ready()
        asking = asyncio.create_task(api.chat("m", script={"hang": "head"}))
        await until_seen(backend, lambda one: True, 5)
        publisher.kill()
        killed_at = time.monotonic()
        status, answer, headers = await asking
        assert status == 503 and answer["error"]["code"] == "publisher_offline" and "Retry-After" in headers
        assert time.monotonic() - killed_at < 10
        assert (await api.llm("m"))["status"] == "inactive"
        assert (await api.chat("m"))[0] == 503


async def test_a_publisher_killed_in_mid_stream_ends_it_with_an_error_event(stage):
    broker, backend = await asyncio.gather(stage.broker(reconnect_grace_seconds=0.3).ready(), stage.backend().ready())
    async with client(broker.url) as api:
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}).ready()
        async with Stream(api, "m", script={"hang": "stream"}) as stream:
            assert [word(await stream.next()) for _ in range(3)] == expected(3)
            publisher.kill()
            last = await stream.rest(5)
        assert len(last) == 1 and error(last[0])["code"] == "publisher_offline" and error(last[0])["status"] == 503


async def test_a_publisher_that_comes_back_under_its_session_serves_the_same_rows(stage):
    broker, backend = await asyncio.gather(stage.broker().ready(), stage.backend().ready())
    async with client(broker.url) as api:
        entry = {"name": "m", "url": backend.url}
        first = await stage.publisher(broker.url, entry, session="kept.json").ready()
        row = await api.llm("m")
        first.kill()
        await stage.publisher(broker.url, entry, session="kept.json").ready()
        again = await api.until_status("m", "active")
        assert (again["id"], again["providerSessionId"]) == (row["id"], row["providerSessionId"])
        assert (await api.chat("m"))[0] == 200


async def test_sigterm_of_a_replica_lets_its_streams_end_and_sends_the_publisher_elsewhere(stage):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    async with balancer(one.url, two.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        publisher = await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 4}).ready()
        async with Stream(api_1, "m", script=SLOW) as stream:
            assert word(await stream.next()) == "tök€n0 "
            one.terminate()
            await publisher.said("the broker shuts down")
            payloads = await stream.rest()
        assert [word(p) for p in payloads[:-1]] == expected(25)[1:] and payloads[-1] == "[DONE]"
        assert await one.ended() == 0
        assert (await api_2.chat("m"))[0] == 200


async def test_sigterm_of_the_only_replica_lets_its_streams_end(stage):
    broker, backend = await asyncio.gather(stage.broker(reconnect_grace_seconds=0.3).ready(), stage.backend().ready())
    async with client(broker.url) as api:
        await stage.publisher(broker.url, {"name": "m", "url": backend.url, "slots": 4}).ready()
        async with Stream(api, "m", script=SLOW) as stream:
            assert word(await stream.next()) == "tök€n0 "
            broker.terminate()
            payloads = await stream.rest()
        assert [word(p) for p in payloads[:-1]] == expected(25)[1:] and payloads[-1] == "[DONE]"
        assert await broker.ended() == 0


async def test_while_a_replica_leaves_requests_elsewhere_wait_for_the_publisher_instead_of_failing(stage):
    one, two, backend = await asyncio.gather(stage.broker().ready(), stage.broker().ready(), stage.backend().ready())
    async with balancer(one.url, two.url) as front, client(two.url) as api:
        await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 4}).ready()
        one.terminate()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            status, answer, _ = await api.chat("m")
            assert status == 200, answer
        assert await one.ended() == 0


async def test_sigterm_of_a_publisher_lets_its_streams_end(stage):
    broker, backend = await asyncio.gather(stage.broker().ready(), stage.backend().ready())
    async with client(broker.url) as api:
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url, "slots": 4}).ready()
        async with Stream(api, "m", script=SLOW) as stream:
            assert word(await stream.next()) == "tök€n0 "
            publisher.terminate()
            await publisher.said("stopping")
            await api.until_status("m", "inactive")
            assert (await api.chat("m"))[0] == 503
            payloads = await stream.rest()
        assert [word(p) for p in payloads[:-1]] == expected(25)[1:] and payloads[-1] == "[DONE]"
        assert await publisher.ended() == 0


async def test_a_row_whose_heartbeat_lapses_is_inactive_until_it_is_back(stage):
    broker, backend = await asyncio.gather(stage.broker(stale_seconds=1.5).ready(), stage.backend().ready())
    async with client(broker.url) as api:
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}).ready()
        publisher.freeze()
        row = await api.until_status("m", "inactive")
        assert row["inactiveSince"] is not None
        status, answer, _ = await api.chat("m")
        assert status == 503 and answer["error"]["code"] == "publisher_offline"
        publisher.thaw()
        await api.until_status("m", "active")
        assert (await api.chat("m"))[0] == 200


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("death", ["terminate", "kill"])
async def test_rows_and_tokens_survive_a_restart_of_broker_up(stage, tmp_path, death):
    port, data = free_port(), tmp_path / "data"
    broker = await stage.up(data, port=port).ready()
    words = ["-m", "broker", "tokens", "create", "--data-dir", str(data), "--json"]
    roles = ["--role", "client", "--role", "publisher", "--owner", "me"]
    made = stage.run("tokens", *words, *roles, says="token")
    token = json.loads(await made.said("token"))["token"]
    assert await made.ended() == 0
    backend = await stage.backend().ready()
    headers = {"Authorization": f"Bearer {token}"}
    async with client(broker.url) as api:
        async with asyncio.timeout(20):
            while (await api.call("GET", "/api/v1/llms"))[0] != 401:
                await asyncio.sleep(0.05)
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}, token=token).ready()
        before = (await api.call("GET", "/api/v1/llms/m", headers=headers))[1]
        publisher.freeze()
        getattr(broker, death)()
        await broker.ended()
        broker.start()
        await broker.ready()
        status, after, _ = await api.call("GET", "/api/v1/llms/m", headers=headers)
        assert status == 200 and after["id"] == before["id"] and after["createdAt"] == before["createdAt"]
        assert (await api.call("GET", "/api/v1/llms/m"))[0] == 401
        publisher.thaw()
        async with asyncio.timeout(15):
            while (await api.chat("m", headers=headers))[0] != 200:
                await asyncio.sleep(0.1)
    broker.terminate()
    assert await broker.ended() == 0
