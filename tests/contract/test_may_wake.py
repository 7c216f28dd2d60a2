"""Who may wake: a token that was made without that leave asks only LLMs that are awake, or that others wake."""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


@asynccontextmanager
async def quiet_token(place):
    store = place.open_store(place.settings())
    token_id, token = await store.tokens.create(name="quiet", roles=["client"], owner="quiet", may_wake=False)
    try:
        yield token
    finally:
        await store.tokens.revoke(token_id)
        await store.close()


async def test_such_a_token_wakes_nothing_and_is_told_why(redis_at):
    async with tokens(redis_at, pub="publisher") as given, quiet_token(redis_at) as quiet, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.pub, initialStatus="hibernating"):
            status, body, headers = await broker.chat("m", headers=bearer(quiet))
            assert (status, body["error"]["code"], headers["x-should-retry"]) == (403, "wake_forbidden", "false")
            assert "asleep" in body["error"]["message"]
            assert not await redis_at.read("wake:m") and not await redis_at.read("waiting:m")


async def test_it_asks_an_llm_that_is_awake_and_waits_for_one_that_others_wake(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client") as given, quiet_token(redis_at) as quiet, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.pub, initialStatus="hibernating", slots=2) as provider:
            clients = [asked(broker.chat("m", headers=bearer(given.ann)))]
            wake = await provider.next("wake")
            clients.append(asked(broker.chat("m", headers=bearer(quiet))))
            await eventually(lambda: waiting(redis_at, 2))
            await provider.answer(wake, {"ok": True})
            for _ in clients:
                await provider.answer(await provider.next())
            assert {(await client)[0] for client in clients} == {200}
            later = asked(broker.chat("m", headers=bearer(quiet)))
            await provider.answer(await provider.next())
            assert (await later)[0] == 200


async def waiting(place, count: int) -> bool:
    return len(await place.read("waiting:m") or ()) == count
