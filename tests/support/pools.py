"""Pools of a test: made over HTTP, asked by streams and chats, and their orders as Redis has them."""

from __future__ import annotations

import uuid

from broker.store.pools import Choice
from broker.store.tasks import Item
from broker.relay.parts import DONE
from tests.support.brokers import Replica
from tests.support.provider import Provider
from tests.support.streams import asked

POOLS = "/api/v1/pools"


async def make_pool(broker: Replica, name: str, *members: str | dict, **fields: object) -> dict:
    """The row. Members: names of LLMs, or whole entries."""
    entries = [{"llm": one} if isinstance(one, str) else one for one in members]
    status, row, _ = await broker.call("POST", POOLS, {"name": name, "members": entries, **fields})
    assert status == 201, row
    return row


async def explained(broker: Replica, headers) -> dict:
    """Why the answer with those headers came from whom it did."""
    status, told, _ = await broker.call("GET", f"/api/v1/requests/{headers['X-Request-Id']}/explain")
    assert status == 200, told
    return told


async def order_of(place, key: str) -> list[str]:
    """The members of a pool in use, best first."""
    return [name.decode() for name, _ in await place.read(f"order:{key}") or ()]


async def health(place, llm: str) -> dict[str, str]:
    """How it failed its pools' requests."""
    return {name.decode(): value.decode() for name, value in (await place.read(f"health:{llm}") or {}).items()}


async def is_back(place, llm: str) -> bool:
    """Whether it is not left out."""
    return "openUntil" not in await health(place, llm)


async def fail(broker: Replica, llm: str, times: int = 1) -> None:
    for _ in range(times):
        await broker.broker.store.pools.report(llm, "failed", "r", "t", why="test")


async def let_cool(place, llm: str, until_ms: int = 1, *, key: str = "m:q") -> None:
    """As if the time for which it is left out of that pool had passed, or ended then."""
    redis = place.redis()
    prefix = f"rv:{{{place.namespace}}}:"
    await redis.hset(prefix + f"health:{llm}", "openUntil", until_ms)
    await redis.zadd(prefix + f"broken:{key}", {llm: until_ms})
    await redis.aclose()


async def use(broker, provider: Provider) -> None:
    """Lets the pool be in use."""
    task = asked(broker.chat("q"))
    await provider.answer(await provider.next())
    assert (await task)[0] == 200


class Asker:
    """Asks pools through the store's own phrases, without HTTP in between, and ends what it asked."""

    def __init__(self, broker: Replica):
        self._store = broker.broker.store
        self.held: list[tuple[str, str]] = []

    async def ask(
        self, pool: str, *, owner: str = "o", affinity: str = "", left_out: tuple[str, ...] = (), priority: str = "interactive",
        may_wake: bool = True, task: str = "",
    ):
        """What became of it; ``held`` has the task and member of those that were sent."""
        task = task or f"t{uuid.uuid4().hex}"
        given = await self._store.pools.dispatch(
            pool, task, Choice(task, affinity, left_out), owner=owner, deadline_ms=60_000, priority=priority,
            frame=b'{"kind":"infer","taskId":"%s","llmName":' % task.encode(), tail=b',"request":{},"deadlineMs":',
            body=b"", may_wake=may_wake,
        )
        if given.state in ("sent", "public"):
            self.held.append((task, given.llm))
        return given

    async def finish(self, session: str, owner: str = "local") -> str:
        """Ends the oldest that was sent; its member."""
        task, llm = self.held.pop(0)
        await self.end(task, session, owner)
        return llm

    async def end(self, task: str, session: str, owner: str = "local") -> str:
        return (await self._store.tasks.results(session, owner, [Item(task, None, 1, "e", [DONE], "ok")]))[0]

    async def cancel(self, task: str) -> None:
        await self._store.tasks.cancel(task, "over", unwritten=True)

    async def finish_all(self, session: str) -> None:
        while self.held:
            await self.finish(session)
