"""Where a request is: in the line with its place and an estimate, running, gone; seen by its owner and an admin only."""

from __future__ import annotations

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, event_of, streaming
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


async def look(broker, request: str, token: str | None = None):
    return (await broker.call("GET", f"/api/v1/requests/{request}", headers=bearer(token)))[:2]


async def in_line(place, count: int) -> None:
    async def enough() -> bool:
        return len(await place.read("waiting:m") or ()) == count

    await eventually(enough)


async def task_in_line(place) -> str:
    return (await eventually(lambda: place.read("waiting:m")))[0][0].decode()


async def test_a_waiting_request_has_a_place_and_an_estimate(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        assert await look(other, frame["taskId"]) == (200, {
            "id": frame["taskId"], "state": "sent", "llm": "m", "priority": None, "position": None, "estimatedSeconds": None,
        })
        second = asked(broker.chat("m", headers={"X-Priority": "normal"}))
        waiting = await task_in_line(redis_at)
        status, seen = await look(other, waiting)
        assert status == 200 and seen["estimatedSeconds"] >= 1
        assert {**seen, "estimatedSeconds": 0} == {
            "id": waiting, "state": "waiting", "llm": "m", "priority": "normal", "position": 1, "estimatedSeconds": 0,
        }
        await provider.answer(frame)
        await provider.answer(await provider.next())
        headers = (await second)[2]
        assert headers["X-Queue-Position"] == "1" and int(headers["X-Estimated-Wait-Seconds"]) >= 1
        assert "X-Queue-Position" not in (await first)[2]
        assert (await look(other, waiting))[0] == 404


async def test_a_request_that_waits_for_a_wake_says_so(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        waiting = await task_in_line(redis_at)
        assert (await look(broker, waiting))[1]["state"] == "waking"
        assert (await look(broker, wake["taskId"]))[0] == 404, "a wake is nobody's request"
        await provider.answer(wake, {"ok": True})
        await provider.answer(await provider.next())
        await client


async def test_a_request_is_its_owners_and_an_admins(redis_real):
    async with tokens(redis_real, pub="publisher", ann="client", bob="client", root="admin") as given, replica(redis_real) as broker:
        async with Provider(broker, "m", token=given.pub) as provider:
            client = asked(broker.chat("m", headers=bearer(given.ann)))
            frame = await provider.next()
            seen = [(await look(broker, frame["taskId"], token))[0] for token in (given.ann, given.root, given.bob, given.pub)]
            assert seen == [200, 200, 404, 403]
            await provider.answer(frame)
            await client


async def test_the_comments_of_a_waiting_stream_follow_its_place(redis_at):
    quick = {"comment_first_seconds": 0.05, "comment_every_seconds": 0.05}
    async with replica(redis_at, **quick) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m"))]
        frame = await provider.next()
        clients.append(asked(broker.chat("m")))
        await in_line(redis_at, 1)
        async with streaming(broker, "m") as response:
            assert response.headers["X-Queue-Position"] == "2"
            assert (await event_of(response)).startswith(b": waiting, place 2, about ")
            await provider.answer(frame)
            frame = await provider.next()
            while not (await event_of(response)).startswith(b": waiting, place 1, about "):
                pass
            await provider.answer(frame)
            await provider.chunk(await provider.next(), "[DONE]", done=True)
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
        for client in clients:
            await client
