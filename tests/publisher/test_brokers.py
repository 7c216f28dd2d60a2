"""One publisher at several brokers: each has its rows, one's trouble is not the other's, one slot count for all."""

import asyncio
import contextlib
from dataclasses import replace

from publisher.config.values import BrokerAddress, Command, Config, Provider, Recipe
from publisher.life import Publisher
from publisher.link.session import SessionFile
from tests.publisher.running import SHORT, play
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker
from tests.support.waiting import eventually


class Two:
    def __init__(self, backend: Backend, first: FakeBroker, second: FakeBroker, publisher: Publisher, running) -> None:
        self.backend, self.first, self.second, self.publisher, self.running = backend, first, second, publisher, running


@contextlib.asynccontextmanager
async def two_brokers(tmp_path, *, refuse_second: bool = False, **provider):
    async with Backend() as backend, FakeBroker() as first, FakeBroker() as second:
        if refuse_second:
            second.refuse["register"] = [(401, "send a valid token")] * 100
        told = Provider(**{"name": "m", "url": backend.url, "model": "real", "slots": 1, **provider})
        config = Config((BrokerAddress(first.url, "one"), BrokerAddress(second.url, "two")), (told,))

        def file(address: BrokerAddress) -> SessionFile:
            return SessionFile(tmp_path / f"{address.token}.json")

        publisher = Publisher(config, file, replace(SHORT, availability_s=0.05))
        running = asyncio.create_task(publisher.run())
        try:
            await first.ready()
            if not refuse_second:
                await second.ready()
            yield Two(backend, first, second, publisher, running)
        finally:
            publisher.stop()
            publisher.stop()
            await asyncio.wait([running], timeout=10)


def test_each_broker_has_the_rows_its_own_token_and_its_own_session(tmp_path):
    async def test():
        async with two_brokers(tmp_path) as s:
            assert [e["name"] for e in s.second.registrations[0]["providers"]] == ["m"]
            assert s.first.headers[0]["Authorization"] == "Bearer one"
            assert s.second.headers[0]["Authorization"] == "Bearer two"
            assert SessionFile(tmp_path / "one.json").load() and SessionFile(tmp_path / "two.json").load()
            for broker in (s.first, s.second):
                assert (await broker.ended(await broker.infer({"messages": []}))).last["status"] == 200

    play(test())


def test_slots_are_shared_by_all_brokers(tmp_path):
    async def test():
        async with two_brokers(tmp_path) as s:
            slow = {"messages": [], "script": {"delay_s": 0.02}}
            asked = [(broker, await broker.infer(slow)) for broker in (s.first, s.second) for _ in range(3)]
            for broker, told in asked:
                assert (await broker.ended(told)).last["status"] == 200
            assert s.backend.most_at_once == 1

    play(test())


def test_it_sleeps_only_when_every_broker_agrees_and_then_all_know(tmp_path):
    async def test():
        recipe = Recipe((Command("true"),))
        async with two_brokers(tmp_path, wake=recipe, sleep=recipe, idle_s=0.2, min_awake_s=0.0) as s:
            s.second.refuse["status"] = [(409, "work is queued")]
            await s.second.until(lambda: not s.second.refuse["status"])
            await s.first.until(lambda: s.first.statuses[-1:] == [("m", "active")])
            assert not s.second.statuses
            s.backend.up = False  # from now on the recipe finds it gone
            await s.first.until(lambda: s.first.statuses[-1:] == [("m", "hibernating")])
            await s.second.until(lambda: s.second.statuses[-1:] == [("m", "hibernating")])

    play(test())


def test_a_wake_for_one_broker_is_told_to_the_other(tmp_path):
    async def test():
        async with two_brokers(tmp_path, wake=Recipe((Command("true"),))) as s:
            s.backend.up = False
            await eventually(lambda: s.first.statuses and s.second.statuses)
            told = await s.first.order("wake")
            s.backend.up = True
            assert (await s.first.ended(told)).last["body"]["ok"] is True
            await s.second.until(lambda: s.second.statuses[-1] == ("m", "active"))
            assert ("m", "active") not in s.first.statuses, "it hears of the wake by the wake's own result"

    play(test())


def test_a_broker_that_refuses_the_registration_does_not_disturb_the_other(tmp_path):
    async def test():
        async with two_brokers(tmp_path, refuse_second=True) as s:
            await eventually(lambda: [one.state for one in s.publisher.status().brokers] == ["open", "refused"])
            assert "send a valid token" in s.publisher.status().brokers[1].last_error
            assert (await s.first.ended(await s.first.infer({"messages": []}))).last["status"] == 200

    play(test())


def test_a_broker_that_is_away_does_not_disturb_the_other(tmp_path):
    async def test():
        async with two_brokers(tmp_path) as s:
            s.second.refuse["results"] = [(503, "away")] * 3
            lost = await s.second.infer({"messages": []})
            assert (await s.first.ended(await s.first.infer({"messages": []}))).last["status"] == 200
            assert (await s.second.ended(lost)).last["status"] == 200

    play(test())


def test_a_stop_says_goodbye_to_all(tmp_path):
    async def test():
        async with two_brokers(tmp_path) as s:
            s.publisher.stop()
            assert await s.running == 0
            assert "goodbye" in s.first.calls and "goodbye" in s.second.calls

    play(test())
