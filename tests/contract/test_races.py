"""Clients, deadlines and answers that cross one another at random: at the end every slot is free."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def leave(client: asyncio.Task) -> None:
    client.cancel()
    with suppress(asyncio.CancelledError):
        await client


async def _empty(place, key: str) -> bool:
    return not await place.read(key)


@pytest.mark.limit_s(90)
async def test_whatever_crosses_whatever_no_slot_is_lost(redis_real):
    """Clients leave, deadlines pass and answers come at random moments; at the end every slot is free."""
    chance = random.Random(7)
    settings = {"lease_grace_seconds": 0.3, "queue_length": 50}
    async with replica(redis_real, **settings) as one, replica(redis_real, **settings) as two:
        async with Provider(one, "m", slots=8) as provider:
            player = asked(_answer_at_random(provider, (one, two), chance))
            gate = asyncio.Semaphore(40)
            ends = await asyncio.gather(*(_ask_at_random(gate, chance.choice((one, two)), chance) for _ in range(400)))
            await eventually(lambda: _empty(redis_real, "leases:m"), 10)
            assert set(ends) <= {0, 200, 429, 502, 504}
            assert ends.count(200) > 20 and ends.count(0) > 20
            assert not await redis_real.read("waiting:m")
            assert b"waitingBytes" not in (await redis_real.read("load:m") or {})
            await leave(player)
            last = asked(two.chat("m"))
            player = asked(_answer_all(provider))
            assert (await last)[0] == 200
            await leave(player)


async def _ask_at_random(gate: asyncio.Semaphore, broker, chance: random.Random) -> int:
    async with gate:
        leaves_after_s = chance.choice([None, None, 0.0, 0.005, 0.02, 0.05])
        headers = {"X-Deadline-Seconds": str(chance.choice([0.01, 0.05, 5]))}
        client = asked(broker.chat("m", headers=headers, stream=chance.random() < 0.5))
        done, _ = await asyncio.wait({client}, timeout=leaves_after_s)
        if done:
            return (await client)[0]
        await leave(client)
        return 0


async def _answer_at_random(provider: Provider, brokers: tuple, chance: random.Random) -> None:
    """Does some of what it is given, late or not at all, by any replica."""
    async with asyncio.TaskGroup() as group:
        while True:
            frame = await provider.frames.get()
            if chance.random() < 0.9:
                provider.move_to(chance.choice(brokers))
                act = partial(provider.fail, frame, "no") if chance.random() < 0.3 else partial(provider.answer, frame)
                group.create_task(_later(chance.choice([0, 0.002, 0.02]), act))


async def _later(seconds: float, act) -> None:
    await asyncio.sleep(seconds)
    await act()


async def _answer_all(provider: Provider) -> None:
    while True:
        frame = await provider.frames.get()
        if frame["kind"] == "infer":
            await provider.answer(frame)
