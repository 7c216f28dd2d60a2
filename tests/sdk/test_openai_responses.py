"""The official OpenAI SDK's Responses against a broker, with a publisher and a backend behind it."""

from __future__ import annotations

import json

import openai
import pydantic
import pytest

from tests.sdk.test_openai import MODEL, sdk, seen
from tests.support.waiting import eventually

TEXT = "tök€n0 tök€n1 tök€n2 "
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}, "strict": True}


async def test_a_response_is_made_read_and_deleted(world):
    async with sdk(world) as client:
        made = await client.responses.create(model=MODEL, input="hello", instructions="be kind", metadata={"a": "b"})
        assert made.output_text == TEXT and made.status == "completed" and made.usage.total_tokens == 4
        assert (await client.responses.retrieve(made.id)).output_text == TEXT
        items = await client.responses.input_items.list(made.id)
        assert [item.content[0].text for item in items.data] == ["hello"]
        await client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)


async def test_a_conversation_goes_on_by_the_id_of_the_response_before(world):
    async with sdk(world) as client:
        first = await client.responses.create(model=MODEL, input="hello")
        second = await client.responses.create(model=MODEL, input="and?", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        texts = [item.content[0].text async for item in client.responses.input_items.list(second.id, order="asc", limit=2)]
        assert texts == ["hello", TEXT, "and?"]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model=MODEL, input="x", previous_response_id="resp_none")
        assert refused.value.code == "previous_response_not_found"


async def test_a_stream_is_read_event_by_event_and_through_the_sdks_own_accumulator(world):
    async with sdk(world) as client:
        stream = await client.responses.create(model=MODEL, input="hello", stream=True)
        events = [event async for event in stream]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
        assert events[-1].type == "response.completed" and events[-1].response.usage.total_tokens == 4
        async with client.responses.stream(model=MODEL, input="hello") as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_response()).output_text == TEXT


async def test_tools_whole_and_streamed(world):
    async with sdk(world) as client:
        made = await client.responses.create(model=MODEL, input="hello", tools=[TOOL])
        call = next(item for item in made.output if item.type == "function_call")
        assert (call.name, call.call_id, call.arguments) == ("look_up", "call_1", "{}")
        async with client.responses.stream(model=MODEL, input="hello", tools=[TOOL]) as stream:
            final = await stream.get_final_response()
        assert next(item for item in final.output if item.type == "function_call").parsed_arguments == {}
        answered = await client.responses.create(
            model=MODEL, previous_response_id=made.id, input=[{"type": "function_call_output", "call_id": "call_1", "output": "a cat"}]
        )
        assert answered.output_text == TEXT
        with pytest.raises(openai.BadRequestError, match="web_search"):
            await client.responses.create(model=MODEL, input="x", tools=[{"type": "web_search"}])


async def test_a_structured_answer_is_asked_for_as_the_sdk_parses_it(world):
    class Weather(pydantic.BaseModel):
        sky: str

    async with sdk(world) as client:
        # The backend of these tests says no JSON; what it was asked for can be seen.
        with pytest.raises(pydantic.ValidationError):
            await client.responses.parse(model=MODEL, input="weather", text_format=Weather)
    asked = json.loads((await seen(world))[-1]["body"])["response_format"]["json_schema"]
    assert asked["name"] == "Weather" and asked["strict"] is True and asked["schema"]["required"] == ["sky"]


async def test_a_response_in_the_background_is_polled_followed_and_cancelled(world):
    async with sdk(world) as client:
        made = await client.responses.create(model=MODEL, input="hello", background=True)
        # An answer may be quicker than its acceptance.
        assert made.background and made.status in ("queued", "in_progress", "completed")

        async def done():
            now = await client.responses.retrieve(made.id)
            return now if now.status == "completed" else None

        assert (await eventually(done, 15)).output_text == TEXT
        stream = await client.responses.create(model=MODEL, input="hello", background=True, stream=True)
        events = [event async for event in stream]
        assert events[1].type == "response.queued" and events[-1].response.output_text == TEXT
        rest = await client.responses.retrieve(events[0].response.id, stream=True, starting_after=4)
        assert [event.to_dict() async for event in rest] == [event.to_dict() for event in events[5:]]
        # Nobody needs to look at one before it is gone on from.
        first = await client.responses.create(model=MODEL, input="hello", background=True)

        async def went_on():
            try:
                return await client.responses.create(model=MODEL, input="and?", previous_response_id=first.id)
            except openai.BadRequestError as refused:
                assert "has not ended" in refused.message
                return None

        assert (await eventually(went_on, 15)).output_text == TEXT
        waiting = await client.responses.create(model="asleep", input="hello", background=True)
        assert (await client.responses.cancel(waiting.id)).status in ("cancelled", "failed")


async def test_a_broken_stream_ends_as_a_failed_response(world):
    async with sdk(world) as client:
        stream = await client.responses.create(model="breaking", input="hello", stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "response.failed" and events[-1].response.error.message


async def test_a_refusal_is_the_sdks_own_error(world):
    async with sdk(world, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="nobody", input="x")
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(model="refusing", input="x")
