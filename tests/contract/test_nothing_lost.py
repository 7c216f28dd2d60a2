"""What must not be lost, doubled or kept, though somebody vanishes at the worst moment."""

from __future__ import annotations

import asyncio
import json

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, payloads, streaming
from tests.support.waiting import eventually


async def test_a_request_whose_client_left_before_its_frame_was_written_frees_its_slot(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        tasks = broker.broker.store.tasks
        frame = b'{"kind":"infer","taskId":"req_x","llmName":"m","request":{},"deadlineMs":'
        given = await tasks.dispatch("m", "req_x", owner="local", frame=frame, body=b"", deadline_ms=60_000)
        assert given.channel
        assert await tasks.cancel("req_x", "client gone", unwritten=True)
        assert not await redis_at.read("leases:m")
        client = asked(broker.chat("m"))
        await provider.answer(await provider.next())
        assert (await client)[0] == 200


async def test_a_client_that_stops_reading_is_ended_by_its_deadline(redis_real):
    async with replica(redis_real, comment_first_seconds=0.02) as broker, Provider(broker, "m") as provider:
        async with streaming(broker, "m", headers={"X-Deadline-Seconds": "1"}) as _unread:
            frame = await provider.next()
            for _ in range(8):
                await provider.chunk(frame, "x" * 1_000_000)

            async def none_left() -> bool:
                return broker.broker.relay.running == 0

            await eventually(none_left)
            await provider.next("cancel")
            await provider.fail(frame, "cancelled")


async def test_requests_in_line_are_woken_for_when_the_publisher_comes_back_asleep(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=10) as broker:
        async with Provider(broker, "m", instance="one") as provider:
            running = asked(broker.chat("m"))
            await provider.next()
            waiting = asked(broker.chat("m"))

            async def in_line() -> bool:
                return len(await redis_at.read("waiting:m") or ()) == 1

            await eventually(in_line)
            session = provider.session
        await broker.until_status("m", "inactive")
        again = Provider(broker, "m", session=session, instance="two", initialStatus="hibernating")
        async with again as provider:
            wake = await provider.next("wake")
            assert (await running)[0] == 503
            await provider.result(wake, {"status": 200, "body": {"ok": True}})
            await provider.answer(await provider.next())
            assert (await waiting)[0] == 200


async def test_a_second_beginning_never_follows_a_first_when_no_instance_is_named(redis_at):
    settings = {"reconnect_grace_seconds": 10, "comment_first_seconds": 0.02}
    async with replica(redis_at, **settings) as broker, Provider(broker, "m") as provider:
        async with streaming(broker, "m") as response:
            frame = await provider.next()
            await provider.chunk(frame, "old")
            while await response.content.readuntil(b"\n\n") != b"data: old\n\n":
                pass
            await provider.close()
            await broker.until_status("m", "inactive")
            await provider.open()
            error = json.loads(payloads(await response.read())[-1])["error"]
            assert error["code"] == "publisher_offline" and error["status"] == 503
        assert (await provider.chunk(frame, "new"))[0] == 404


async def test_a_request_that_redis_lost_ends_soon(redis_at):
    async with replica(redis_at, replica_ttl_seconds=0.3) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await redis_at.lose(f"task:{frame['taskId']}", "leases:m", "timers", f"session-tasks:{provider.session}")
        await redis_at.lose(f"asked:{broker.broker.store.replica.name}")
        status, body, _ = await client
        assert (status, body["error"]["code"]) == (503, "broker_restarted")


async def test_a_wake_error_is_a_failure_whatever_its_text(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        client = asked(broker.chat("m"))
        await provider.fail(await provider.next("wake"), "ok")
        status, body, _ = await client
        assert (status, body["error"]["code"], body["error"]["message"]) == (503, "wake_failed", "ok")
        assert (await broker.llm("m"))["status"] == "hibernating"


async def test_a_name_cannot_hide_another_rows_id(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        row = await broker.llm("m")
        async with Provider(broker, row["id"]):
            assert (await broker.llm(row["id"]))["name"] == "m"


async def test_a_publisher_without_heartbeats_is_told_to_stop_what_it_lost(redis_at):
    async with replica(redis_at, stale_seconds=1.0) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await client)[0] == 503
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]


async def test_a_header_that_http_cannot_carry_is_dropped(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        headers = {"x-ratelimit-a\rset-cookie: b": "1", "x-ratelimit-limit": "9\r\nx: y"}
        await provider.answer(await provider.next(), headers=headers)
        status, _, given = await client
        assert status == 200 and given["x-ratelimit-limit"] == "9x: y" and "set-cookie" not in given


async def test_a_body_that_only_trickles_is_given_up(redis_real):
    async with replica(redis_real, body_seconds=0.3) as broker:
        host, port = broker.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")

        async def trickle() -> None:
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert (await reader.readline()).split()[1] == b"408"
        trickling.cancel()
        writer.close()
