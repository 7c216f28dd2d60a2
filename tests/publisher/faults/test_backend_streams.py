"""A backend whose streams break, never end, or take their time."""

from __future__ import annotations

import asyncio

import pytest

from tests.publisher.faults.side_by_side import STREAM, WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import EVENTS, HEAD, JSON, LAST, UNTIL_CLOSED, BrokenBackend, Talk, answer, chunk, event


async def ends_in_the_stream(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")))


async def ends_in_an_event(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")) + chunk(b'data: {"choi') + b"0\r\n\r\n")


async def ends_in_a_chunk(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")) + b"ff\r\ndata: {")


async def ends_a_stream_of_no_length(talk: Talk) -> None:
    """As servers of HTTP/1.0 do when they are killed: nothing but the missing [DONE] tells it from a good end."""
    await talk.write(UNTIL_CLOSED + event("one"))


@pytest.mark.parametrize(
    "way", [ends_in_the_stream, ends_in_an_event, ends_in_a_chunk, ends_a_stream_of_no_length]
)
def test_a_stream_that_breaks_ends_with_an_error_after_the_words_that_came(way):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            told = await s.ends(STREAM)
            assert "one" in told.text and "[DONE]" not in told.text
            assert told.last["code"] == "backend_error"
            await s.the_other_answers()

    play(test())


async def speaks_nonsense_in_the_stream(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")))
    await talk.told_to_go_on()
    await talk.write(b"this is no chunk\r\n")


def test_a_stream_that_turns_into_nonsense_ends_with_an_error_at_the_latest_at_its_deadline():
    """The HTTP client does not tell whoever waits for the next word (aiohttp 3.14), so only the deadline is certain."""

    async def test():
        async with BrokenBackend(speaks_nonsense_in_the_stream) as backend, side_by_side(backend.url) as s:
            told = await s.broken(STREAM, deadlineMs=400)
            await s.broker.until(lambda: bool(told.payloads))
            backend.asked[0].go_on.set()
            await s.the_other_answers()
            assert (await s.broker.ended(told)).last["code"] in ("backend_error", "deadline")

    play(test())


def test_a_stream_of_no_length_that_says_its_end_is_a_whole_one():
    async def well(talk: Talk) -> None:
        await talk.write(UNTIL_CLOSED + event("one") + b"data: [DONE]\n\n")

    async def test():
        async with BrokenBackend(well) as backend, side_by_side(backend.url) as s:
            told = await s.ends(STREAM)
            assert told.payloads[-1] == "[DONE]" and told.last["chunk"]["done"]

    play(test())


async def streams_without_end(talk: Talk) -> None:
    await talk.write(EVENTS)
    words = chunk(event("x" * 1000) * 50)
    while True:
        await talk.write(words)


async def answers_without_end(talk: Talk) -> None:
    await talk.write(HEAD + JSON + b"\r\n[")
    while True:
        await talk.write(b" " * (1 << 20))


def test_a_stream_without_end_ends_at_its_deadline_and_the_backend_is_hung_up_on():
    async def test():
        async with BrokenBackend(streams_without_end) as backend, side_by_side(backend.url) as s:
            told = await s.broken(STREAM, deadlineMs=400)
            await s.broker.until(lambda: bool(told.frames))
            await s.the_other_answers(5)
            await s.broker.ended(told)
            assert told.last["code"] == "deadline"
            await backend.until(lambda: not backend.busy)

    play(test())


def test_a_stream_without_end_is_read_no_faster_than_the_broker_takes_it():
    async def test():
        async with BrokenBackend(streams_without_end) as backend, side_by_side(backend.url) as s:
            s.broker.hold_results = asyncio.Event()
            told = await s.broken(STREAM, deadlineMs=1000)
            await backend.until(lambda: backend.busy)
            await backend.until(lambda: not backend.busy)
            taken = backend.asked[0].taken
            assert taken < 48 << 20, f"{taken >> 20} MiB were read, and nobody took them"
            s.broker.hold_results.set()
            assert (await s.broker.ended(told)).last["code"] == "deadline"

    play(test())


def test_an_answer_without_end_is_given_up_at_its_largest_size():
    async def test():
        async with BrokenBackend(answers_without_end) as backend, side_by_side(backend.url) as s:
            assert "larger than 64 MiB" in await s.fails(WHOLE)
            await backend.until(lambda: not backend.busy)
            await s.the_other_answers()

    play(test())


async def says_done_and_stays(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")) + chunk(b"data: [DONE]\n\n"))
    await talk.hung_up()


async def says_done_and_talks_on(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")) + chunk(b"data: [DONE]\n\n"))
    while True:
        await talk.write(chunk(event("more") * 1000))


@pytest.mark.parametrize("way", [says_done_and_stays, says_done_and_talks_on])
def test_a_stream_that_says_it_is_done_is_done(way):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            told = await s.ends(STREAM)
            assert told.payloads[-1] == "[DONE]" and "more" not in told.text
            await backend.until(lambda: not backend.busy)

    play(test())


def test_a_stream_without_done_that_ends_well_gets_one():
    async def well(talk: Talk) -> None:
        await talk.write(EVENTS + chunk(event("one")) + b"0\r\n\r\n")

    async def test():
        async with BrokenBackend(well) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(STREAM)).payloads[-1] == "[DONE]"

    play(test())


async def slow(talk: Talk) -> None:
    for byte in EVENTS + chunk(event("tök€n")) + chunk(event("two")) + LAST:
        await talk.write(bytes([byte]))
        await asyncio.sleep(0)


async def slow_whole(talk: Talk) -> None:
    for byte in answer(b'{"choices": []}'):
        await talk.write(bytes([byte]))
        await asyncio.sleep(0)


def test_a_backend_that_is_slow_byte_by_byte_is_understood():
    async def test():
        async with BrokenBackend(slow, keeps=True) as backend, side_by_side(backend.url) as s:
            told = await s.ends(STREAM)
            assert told.text.encode() == event("tök€n") + event("two") + b"data: [DONE]\n\n"
            backend.way = slow_whole
            assert (await s.ends(WHOLE)).last["body"] == '{"choices": []}'

    play(test())
