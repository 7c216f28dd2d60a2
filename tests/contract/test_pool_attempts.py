"""A request to a pool while one of its attempts is not quite over and another runs: it is looked at, and stopped, as one."""

from __future__ import annotations

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked


async def test_a_request_is_looked_at_and_cancelled_while_an_earlier_attempt_still_stops(redis_at):
    async with replica(redis_at, pool_first_byte_seconds=1) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q"))
        first = await provider.next()
        frames = {frame["kind"]: frame for frame in [await provider.frames.get(), await provider.frames.get()]}
        second = frames["infer"]
        assert frames["cancel"]["taskId"] == first["taskId"]
        # It does not stall: its client hears of it.
        await provider.result(second, {"status": 200, "headers": {}})
        _, found, _ = await broker.call("GET", f"/api/v1/requests/{first['taskId']}")
        assert (found["llm"], found["state"]) == ("b", "running")
        assert (await broker.call("DELETE", f"/api/v1/requests/{first['taskId']}"))[0] == 200
        assert (await task)[0] == 499
        assert (await provider.next("cancel"))["taskId"] == second["taskId"]
        for frame in (first, second):
            await provider.fail(frame, "stopped")
