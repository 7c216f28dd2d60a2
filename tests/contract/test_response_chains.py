"""``previous_response_id``: how long a conversation may get, and from what it can go on."""

from __future__ import annotations

from tests.contract.test_background_responses import SOON, begin, ended
from tests.support.brokers import replica
from tests.support.messages import completion
from tests.support.provider import Provider
from tests.support.responses import PATH, asking, respond
from tests.support.waiting import eventually


async def test_a_conversation_has_the_limit_of_a_request(redis_at):
    async with replica(redis_at, max_request_bytes=4000) as broker, Provider(broker, "m") as provider:
        before: dict = {}
        for turn in range(3):
            sent, status, response = await respond(broker, provider, completion(content="ok"), given="x" * 1000, **before)
            assert status == 200 and len(sent["messages"]) == 2 * turn + 1
            before = {"previous_response_id": response["id"]}
        for given in ("x" * 1000, "y" * 3000):
            for more in ({}, {"background": True}):
                status, body, _ = await broker.call("POST", PATH, asking(given=given, **before, **more))
                assert (status, body["error"]["code"], body["error"]["param"]) == (413, "request_too_large", "previous_response_id"), body
        assert provider.frames.empty()
        assert (await respond(broker, provider, completion(content="ok"), given="x" * 3000))[1] == 200, "a new one can begin"


async def test_a_long_one_of_short_turns_goes_on(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        responses = broker.broker.store.responses
        for turn in range(120):
            item = b'[{"type":"message","role":"user","content":"t%d","id":"i%d"}]' % (turn, turn)
            await responses.put(
                f"resp_{turn}", "local", ttl_ms=60_000, created_s=1, previous=f"resp_{turn - 1}" if turn else "", items=item,
                answer=b'{"output":[{"type":"message","role":"assistant","content":"a%d","id":"o%d"}]}' % (turn, turn),
            )
        sent, status, _ = await respond(broker, provider, completion(content="ok"), previous_response_id="resp_119")
        assert status == 200 and [message["content"] for message in sent["messages"]] == [
            *(f"{who}{turn}" for turn in range(120) for who in "ta"), "hello",
        ]
        _, page, _ = await broker.call("GET", f"{PATH}/resp_119/input_items?limit=3")
        assert [item["id"] for item in page["data"]] == ["i119", "o118", "i118"] and page["has_more"]


async def test_one_in_the_background_is_gone_on_from_when_nobody_has_looked_at_it(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:
        first = await begin(one, given="I am Ann")
        frame = await provider.next()
        status, body, _ = await other.call("POST", PATH, asking(previous_response_id=first["id"]))
        assert (status, body["error"]["code"]) == (400, "previous_response_not_found") and "has not ended" in body["error"]["message"]
        await provider.answer(frame, completion(content="hi Ann"))

        async def done() -> bool:
            return (await one.call("GET", f"/api/v1/tasks/{first['id'].replace('resp_', 'job_')}"))[1]["state"] == "done"

        await eventually(done)
        sent, status, _ = await respond(other, provider, completion(content="Ann"), given="who?", previous_response_id=first["id"])
        assert status == 200 and [message["content"] for message in sent["messages"]] == ["I am Ann", "hi Ann", "who?"]
        assert (await ended(one, first))["output"][0]["content"][0]["text"] == "hi Ann"
