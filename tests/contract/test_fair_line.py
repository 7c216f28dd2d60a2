"""The line is fair: between owners, between classes of priority; and nobody starves."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given, settings, strategies

from tests.support.brokers import replica
from tests.support.places import FakePlace
from tests.support.provider import Provider
from tests.support.waiting import eventually

CLASSES = {"interactive": 0, "normal": 50, "batch": 1000}


class Line:
    """Requests of several owners for the LLM ``m``, which has one slot; who is served is asked of the publisher."""

    def __init__(self, broker, provider: Provider):
        self._tasks = broker.broker.store.tasks
        self._post = broker.broker.post
        self._provider = provider
        self._count = self._served = 0

    async def ask(self, owner: str, priority: str = "interactive") -> int:
        """Its place on arrival; 0: it is served at once."""
        self._count += 1
        frame = b'{"kind":"infer","taskId":"t%d","llmName":"m","request":{"by":%s},"deadlineMs":' % (
            self._count, msgspec.json.encode(f"{owner} {priority}"),
        )
        given = await self._tasks.dispatch(
            "m", f"t{self._count}", owner=owner, frame=frame, body=b"", deadline_ms=60_000, priority=priority
        )
        if given.channel:
            self._post.deliver(given.channel, b"%s60000}" % frame)
        return given.place

    async def served(self) -> str:
        frame = await self._provider.next()
        assert (await self._provider.answer(frame))[0] == 200
        self._served += 1
        return frame["request"]["by"]

    async def serve_all(self) -> None:
        while self._served < self._count:
            await self.served()


@asynccontextmanager
async def line_of(broker):
    """With one request that runs, so that all others wait."""
    async with Provider(broker, "m", slots=1) as provider:
        line = Line(broker, provider)
        assert await line.ask("first") == 0
        yield line
        await line.serve_all()


async def test_one_owner_alone_is_served_in_order_of_arrival(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        assert [await line.ask("a") for _ in range(20)] == list(range(1, 21))


async def test_an_owner_with_fifty_times_the_load_costs_another_one_place(redis_at):
    async with replica(redis_at, queue_length=200) as broker, line_of(broker) as line:
        for _ in range(50):
            await line.ask("heavy")
        for _ in range(5):
            assert await line.ask("light") <= 2
            order = [await line.served() for _ in range(3)]
            assert "light interactive" in order, order
            for _ in range(3):
                await line.ask("heavy")


async def test_owners_take_turns(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        for owner in "aaabbbccc":
            await line.ask(owner)
        assert await line.served() == "first interactive"
        assert "".join([(await line.served())[0] for _ in range(9)]) == "abcabcabc"


async def test_who_was_away_has_saved_nothing_up(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        for _ in range(10):
            await line.ask("a")
        for _ in range(8):
            await line.served()
        for _ in range(6):
            await line.ask("b")
        order = [(await line.served())[0] for _ in range(6)]
        assert order.count("a") >= 2, order


async def test_interactive_comes_before_normal_and_normal_before_batch(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        for priority in ("batch", "normal", "interactive"):
            for _ in range(2):
                await line.ask("a", priority)
        await line.served()
        assert [(await line.served()).split()[1] for _ in range(6)] == ["interactive"] * 2 + ["normal"] * 2 + ["batch"] * 2


async def test_a_line_that_is_empty_is_forgotten(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        await line.ask("a")
        assert await redis_at.read("line-tags:m") == {b"a": b"1"}
        await line.served()
        await line.served()
        assert not await redis_at.read("line-tags:m") and set(await redis_at.read("load:m")) <= {b"avgMs"}


async def test_the_class_comes_from_a_header_and_an_unknown_one_is_refused(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", slots=1):
        status, body, _ = await broker.chat("m", headers={"X-Priority": "urgent"})
        assert status == 422 and "`batch`" in body["error"]["message"] and body["error"]["param"] == "X-Priority"


@pytest.mark.limit_s(90)
def test_nobody_starves():
    """However interactive requests keep coming, one of any class is served after so many of them as its class says."""

    @settings(max_examples=15, deadline=None)
    @given(strategies.sampled_from(["interactive", "normal"]), strategies.integers(1, 4))
    def holds(priority: str, others: int) -> None:
        import asyncio

        asyncio.run(served_within(priority, others))

    holds()


async def served_within(priority: str, others: int) -> None:
    place = FakePlace()
    async with replica(place, queue_length=500) as broker, line_of(broker) as line:
        for _ in range(2):
            for other in range(others):
                await line.ask(f"o{other}")
        await line.ask("patient", priority)
        bound = (CLASSES[priority] + 3) * others + 2
        for served in range(bound + 1):
            if await line.served() == f"patient {priority}":
                return
            await line.ask(f"o{served % others}")
        raise AssertionError(f"not served among the first {bound}")


async def test_the_place_sinks_as_others_are_served(redis_at):
    async with replica(redis_at) as broker, line_of(broker) as line:
        for _ in range(3):
            await line.ask("local")

        async def place() -> int | None:
            return (await broker.call("GET", "/api/v1/requests/t4"))[1]["position"]

        assert await place() == 3
        await line.served()
        assert await place() == 2
        await line.served()
        await line.served()
        await eventually(lambda: running(broker, "t4"))


async def running(broker, request: str) -> bool:
    return (await broker.call("GET", f"/api/v1/requests/{request}"))[1]["state"] in ("sent", "running")
