"""A whole publisher behind what stands in the way in real networks: nothing is lost, each task ends once.

Times are a hundredth of the real ones: 60 s without traffic are 0.6 s, the
broker's comment every 15 s is one every 0.15 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from publisher.config.values import BrokerAddress, Config, Provider
from publisher.life import Publisher
from publisher.link.session import SessionFile
from publisher.timers import Timers
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker, Told
from tests.support.middlebox import Middlebox, certificate_for
from tests.support.waiting import eventually

IDLE_S = 1.5
COMMENT_S = 0.15
SHORT = Timers(
    accept_after_s=0.05, availability_s=0.05, check_timeout_s=5, wake_poll_s=0.02, retry_first_s=0.01,
    retry_most_s=0.05, results_retry_first_s=0.01, results_retry_most_s=0.05, slow_retry_s=0.05, silence_s=1.5,
    call_timeout_s=0.5, drain_s=5, last_words_s=1,
)


@dataclass
class Behind:
    broker: FakeBroker
    backend: Backend
    comments: int = 0

    async def run(self, count: int, **request: object) -> list[Told]:
        """So many tasks, one after the other."""
        return [await self.broker.ended(await self.broker.infer({"messages": [], **request})) for _ in range(count)]

    async def quiet_for(self, comments: int) -> None:
        until = self.comments + comments
        await self.broker.until(lambda: self.comments >= until)

    async def comment(self) -> None:
        """What a real broker says on a channel with nothing to say."""
        while True:
            await asyncio.sleep(COMMENT_S)
            with contextlib.suppress(ConnectionError):
                await self.broker.raw(b": \n\n")
            self.comments += 1
            await self.broker.tell()


@contextlib.asynccontextmanager
async def publisher_behind(
    broker: FakeBroker, address: BrokerAddress, home: Path, comments: bool = True, **timers: float
) -> AsyncIterator[Behind]:
    async with Backend() as backend:
        behind = Behind(broker, backend)
        config = Config((address,), (Provider("m", backend.url, "real", slots=8),))
        publisher = Publisher(config, lambda _: SessionFile(home / "session.json"), replace(SHORT, **timers))
        running = asyncio.create_task(publisher.run())
        commenting = None
        try:
            await broker.ready()
            if comments:
                commenting = asyncio.create_task(behind.comment())
            yield behind
            assert not running.done()
        finally:
            publisher.stop()
            publisher.stop()
            async with asyncio.timeout(10):
                await asyncio.wait([running])
            if commenting is not None:
                commenting.cancel()
                await asyncio.wait([commenting])


def whole_answers(told: list[Told]) -> None:
    """Each ended once (the fake broker refuses what follows an end), with everything in it."""
    for one in told:
        assert one.ended and "error" not in one.last, one.frames
        assert [frame["seq"] for frame in one.frames] == list(range(len(one.frames)))


def words(told: Told) -> list[str]:
    assert told.payloads[-1] == "[DONE]", told.payloads
    return [json.loads(payload)["choices"][0]["delta"]["content"] for payload in told.payloads[:-1]]


def ten_words() -> list[str]:
    return [f"tök€n{number} " for number in range(10)]


# ── idle connections are given up ───────────────────────────────────────────


async def test_comments_keep_the_channel_through_a_box_that_ends_idle_connections(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url, idle_s=IDLE_S) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path) as behind:
            for _ in range(3):
                await behind.quiet_for(12)  # 1.8 s: longer than the box waits
                whole_answers(await behind.run(2))
            assert broker.channels == 1 and box.cut >= 2  # the calls' connections were ended, in vain


async def test_a_channel_without_comments_is_ended_by_the_box_and_opened_again(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url, idle_s=0.1) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path, comments=False) as behind:
            await broker.until(lambda: broker.channels >= 4)
            assert len(broker.registrations) == 1
            # Between two channels a frame has nowhere to go: the next one is sent as soon as one is there.
            opened = broker.channels
            await broker.until(lambda: broker.channels > opened and broker.channel_open)
            whole_answers(await behind.run(1))


async def test_a_long_silence_of_the_backend_outlives_the_box_s_patience(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url, idle_s=IDLE_S) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path) as behind:
            slow = {"tokens": 3, "delay_s": 0.8}
            whole, stream = [await broker.infer({"messages": [], "script": slow, "stream": streaming})
                             for streaming in (False, True)]
            whole_answers([await broker.ended(whole), await broker.ended(stream)])
            assert len(words(stream)) == 3 and broker.channels == 1


# ── kept-alive connections are cut ──────────────────────────────────────────


@pytest.mark.parametrize("serves", [1, 3])
async def test_a_box_that_cuts_the_connection_as_the_next_call_comes_loses_nothing(tmp_path, serves):
    async with FakeBroker() as broker, Middlebox(broker.url, serves=serves) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path) as behind:
            whole_answers(await behind.run(10))
            streams = [await broker.infer({"messages": [], "stream": True, "script": {"tokens": 10, "delay_s": 0.01}})
                       for _ in range(8)]
            whole_answers([await broker.ended(stream) for stream in streams])
            assert all(words(stream) == ten_words() for stream in streams)
            assert box.cut > 3 and len(broker.registrations) == 1
            assert len(behind.backend.seen) == 18  # nothing was run twice


async def test_heartbeats_go_on_through_a_box_that_cuts_every_kept_connection(tmp_path):
    async with FakeBroker(heartbeat_s=0.05) as broker, Middlebox(broker.url, serves=1) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path):
            await broker.until(lambda: broker.calls.count("heartbeat") >= 5)
            assert len(broker.registrations) == 1 and broker.channels == 1


# ── nothing arrives any more, and nobody says so ────────────────────────────


async def test_a_swallowed_channel_is_replaced_within_the_silence_and_a_stream_goes_on(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path) as behind:
            stream = await broker.infer({"messages": [], "stream": True, "script": {"tokens": 10, "delay_s": 0.1}})
            await broker.until(lambda: len(stream.frames) >= 2)
            box.swallow()
            began = time.monotonic()
            await broker.until(lambda: broker.channels == 2)
            assert time.monotonic() - began < 1.5 + 2.0  # silence_s, and a busy machine
            await broker.ended(stream)
            whole_answers([stream])
            assert words(stream) == ten_words() and len(behind.backend.seen) == 1
            whole_answers(await behind.run(2))


async def test_a_network_that_is_dead_for_a_while_costs_time_only(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url) as box:
        async with publisher_behind(broker, BrokerAddress(box.url), tmp_path) as behind:
            streams = [await broker.infer({"messages": [], "stream": True, "script": {"tokens": 10, "delay_s": 0.02}})
                       for _ in range(4)]
            await eventually(lambda: len(behind.backend.seen) == 4)
            box.swallow(new=True)
            connections = box.connections
            await eventually(lambda: [one.finished for one in behind.backend.seen] == [True] * 4)
            await eventually(lambda: box.connections > connections)
            box.swallow()
            for stream in streams:
                await broker.ended(stream)
            whole_answers(streams)
            assert all(words(stream) == ten_words() for stream in streams)
            await broker.until(lambda: broker.channels == 2)
            assert len(broker.registrations) == 1


# ── proxies ─────────────────────────────────────────────────────────────────


async def test_a_publisher_lives_behind_a_tunnel_with_credentials_and_a_private_certificate(tmp_path):
    certificate = certificate_for("broker.test", tmp_path)
    async with FakeBroker(heartbeat_s=0.2) as broker, Middlebox(broker.url, tls=certificate) as front:
        async with Middlebox(front.url, credentials="me:h%40sh", idle_s=IDLE_S) as box:
            address = BrokerAddress("https://broker.test", "the-token", str(certificate.file),
                                    f"http://me:h%40sh@127.0.0.1:{box.port}")
            async with publisher_behind(broker, address, tmp_path) as behind:
                whole_answers(await behind.run(3))
                await behind.quiet_for(12)
                stream = await broker.infer({"messages": [], "stream": True, "script": {"tokens": 10, "delay_s": 0.01}})
                whole_answers([await broker.ended(stream)])
                assert words(stream) == ten_words() and broker.channels == 1
                await broker.until(lambda: "heartbeat" in broker.calls)
        assert {line for line in box.asked} == {"CONNECT broker.test:443 HTTP/1.1"}
        assert {headers["Authorization"] for headers in broker.headers} == {"Bearer the-token"}
        assert not any("Proxy-Authorization" in headers for headers in broker.headers)


async def test_a_publisher_lives_behind_a_plain_proxy(tmp_path):
    async with FakeBroker() as broker, Middlebox(broker.url, credentials="me:hush", serves=2) as box:
        address = BrokerAddress("http://broker.test", "the-token", proxy=f"http://me:hush@127.0.0.1:{box.port}")
        async with publisher_behind(broker, address, tmp_path) as behind:
            whole_answers(await behind.run(6))
            assert broker.channels == 1
