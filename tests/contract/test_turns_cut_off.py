"""Followers whose stream breaks off: by a connection that takes nothing, or by a Redis that is away. The turn is none the worse."""

from __future__ import annotations

import asyncio

from broker.errors import StoreUnavailable
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.threads import BOT, THREADS, following, make_thread, thread_of, turn, under_way
from tests.support.waiting import eventually


async def test_a_follower_that_takes_nothing_is_cut_off_and_that_is_no_bug(redis_real, caplog):
    async with replica(redis_real, idle_seconds=1.0) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one") as live:
            host, port = broker.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(b"GET %s/%s/turns/1/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % (THREADS.encode(), thread.encode()))
            await reader.readuntil(b"event: text")
            listeners = broker.broker.following._listeners
            assert listeners
            for number in range(20):
                await live.speak(f"{number} " + "x" * (1 << 20))

            async def cut_off() -> bool:
                await live.speak("on")
                return not listeners

            await eventually(cut_off)
            await live.finish()
            assert (await live.stream.rest())[-1].name == "final"
            writer.close()
        assert (await turn(broker, thread))["status"] == "complete"
    assert "bug" not in caplog.messages


async def test_a_follower_whose_rest_cannot_be_read_is_cut_off_and_not_told_that_the_turn_failed(redis_at):
    async with replica(redis_at, comment_every_seconds=0.05) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one") as live, following(broker, thread, after=999) as far:
            broker.broker.store.turn_events.read = away
            await live.finish()
            assert (await live.stream.rest())[-1].name == "final"
            assert await far.rest() == []
        assert (await thread_of(broker, thread))["running"] is None


async def away(*_) -> list:
    raise StoreUnavailable()
