"""Several queues of durable tasks that come down to one LLM: none waits for another to be empty."""

from __future__ import annotations

import json

from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, task
from tests.support.provider import Provider
from tests.support.public import HERE
from tests.support.rows import put_public_llm
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

MANY = 20


async def make_bot(broker, llm: str, headers: dict) -> None:
    status, row, _ = await broker.call("POST", "/api/v1/agents", {"name": "bot", "llm": llm, "systemPrompt": "x"}, headers=headers)
    assert status == 201, row


async def test_an_agents_task_has_its_turn_while_its_llm_is_asked_for_much_by_name(redis_at):
    async with (
        tokens(redis_at, alice="client", bob="client", pub="publisher") as t, replica(redis_at, **SOON) as broker,
        Provider(broker, "m", slots=1, token=t.pub) as provider,
    ):
        await make_bot(broker, "m", bearer(t.bob))
        for number in range(MANY):
            await submit(broker, request={"who": f"alice {number}"}, headers=bearer(t.alice))
        frame = await provider.next()
        bob = await submit(broker, None, agent="bot", request={"who": "bob"}, headers=bearer(t.bob))

        async def in_line() -> bool:
            return (await task(broker, bob["id"], bearer(t.bob)))["position"] == 0

        await eventually(in_line)
        order = []
        for number in range(MANY + 1):
            order.append(frame["request"]["who"])
            await provider.answer(frame)
            if number < MANY:
                frame = await provider.next()
        assert order.index("bob") <= 3


async def test_an_agents_task_has_its_turn_at_a_public_llm_too(redis_at):
    async with tokens(redis_at, alice="client", bob="client", root="admin") as t:
        async with replica(redis_at, job_upstream_calls=1, **HERE, **SOON) as broker, Backend(Script(delay_s=0.02)) as upstream:
            await put_public_llm(redis_at, "gpt", url=upstream.url)
            await make_bot(broker, "gpt", bearer(t.bob))
            jobs = [await submit(broker, "gpt", request={"who": "alice"}, headers=bearer(t.alice)) for _ in range(MANY)]
            bob = await submit(broker, None, agent="bot", request={"who": "bob"}, headers=bearer(t.bob))

            async def done() -> bool:
                ends = [await task(broker, made["id"], bearer(t.root)) for made in (bob, jobs[-1])]
                return all(one["state"] == "done" for one in ends)

            await eventually(done, 20)
            order = [json.loads(seen.body)["who"] for seen in upstream.seen]
            assert order.index("bob") < MANY - 2


async def test_one_that_may_wake_is_found_behind_many_that_may_not(redis_at):
    store = redis_at.open_store(redis_at.settings())
    (quiet_id, quiet), (loud_id, loud) = [
        await store.tokens.create(name=name, roles=["client", "publisher"], owner=name, may_wake=wake)
        for name, wake in (("quiet", False), ("loud", True))
    ]
    try:
        async with replica(redis_at, **SOON) as broker:
            async with Provider(broker, "m", slots=9, initialStatus="hibernating", token=loud) as provider:
                for _ in range(7):
                    await submit(broker, headers=bearer(quiet))
                await submit(broker, priority="batch", headers=bearer(loud))
                await provider.answer(await provider.next("wake"), {"ok": True})
                for _ in range(8):
                    await provider.answer(await provider.next())
    finally:
        for token_id in (quiet_id, loud_id):
            await store.tokens.revoke(token_id)
        await store.close()
