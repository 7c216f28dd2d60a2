"""What is told of a request to a pool: who was chosen, among whom, why, and what it waited for."""

from __future__ import annotations

from tests.support.brokers import replica
from tests.support.pools import explained
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


async def test_a_choice_is_told_with_its_candidates(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=2) as provider:
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next())
        _, _, headers = await task
        told = await explained(broker, headers)
        assert told["id"] == headers["X-Request-Id"] and told["servedBy"] == "a" and told["retries"] == 0
        (attempt,) = told["attempts"]
        assert (attempt["pool"], attempt["asked"], attempt["llm"], attempt["verdict"]) == ("m:q", "q", "a", "sent")
        assert (attempt["why"], attempt["failed"], attempt["waiting"]) == ("least loaded", None, 0)
        assert attempt["candidates"] == [
            {"llm": name, "standing": "warm", "tier": 0, "running": 0, "slots": 2, "score": 0.5, "averageMs": None} for name in "ab"
        ]


async def test_waits_and_wakes_are_told(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1, initialStatus="hibernating") as provider:
        first = asked(broker.chat("q"))
        wake = await provider.next("wake")
        await eventually(lambda: redis_at.read("waiting:\1m:q"))
        await provider.answer(wake)
        frame = await provider.next()
        second = asked(broker.chat("q"))
        await eventually(lambda: redis_at.read("waiting:\1m:q"))
        await provider.answer(frame)
        await provider.answer(await provider.next())
        woken, waited = await explained(broker, (await first)[2]), await explained(broker, (await second)[2])
        assert woken["attempts"][0]["verdict"] == "waking" and woken["wakeMs"] >= 1 and woken["waitMs"] == 0
        assert waited["attempts"][0]["verdict"] == "waiting" and waited["wakeMs"] == 0 and waited["servedBy"] == "a"
        assert waited["attempts"][0]["candidates"][0]["standing"] == "full"


async def test_refusals_are_told_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", connect=False):
        status, _, headers = await broker.chat("q")
        told = await explained(broker, headers)
        assert status == 503 and told["attempts"][0]["verdict"] == "offline" and told["servedBy"] is None
        assert told["attempts"][0]["candidates"][0]["standing"] == "away"


async def test_only_the_owner_and_admins_are_told_and_of_others_it_is_404(redis_at):
    async with tokens(redis_at, ann="client", bob="client", root="admin", pub="publisher") as given, replica(redis_at) as broker:
        async with Provider(broker, "a", model="q", token=given.pub) as provider:
            task = asked(broker.chat("q", headers=bearer(given.ann)))
            await provider.answer(await provider.next())
            path = f"/api/v1/requests/{(await task)[2]['X-Request-Id']}/explain"
            statuses = [(await broker.call("GET", path, headers=bearer(token)))[0] for token in (given.ann, given.bob, given.root, given.pub)]
            assert statuses == [200, 404, 200, 403]
            assert (await broker.call("GET", "/api/v1/requests/req_none/explain", headers=bearer(given.root)))[0] == 404


async def test_a_request_by_name_asked_no_pool(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a") as provider:
        task = asked(broker.chat("a"))
        await provider.answer(await provider.next())
        path = f"/api/v1/requests/{(await task)[2]['X-Request-Id']}/explain"
        assert (await broker.call("GET", path))[0] == 404
