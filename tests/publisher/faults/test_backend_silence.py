"""A backend that refuses, hangs, or breaks off."""

from __future__ import annotations

import asyncio

import pytest

from tests.publisher.faults.side_by_side import STREAM, WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import EVENTS, HEAD, JSON, BrokenBackend, Talk, chunk, event, nobody, well

HALF = HEAD + JSON + b"Content-Length: 100\r\n\r\n{\"choices\""


@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["whole", "stream"])
def test_a_backend_that_refuses_connections_fails_each_request_at_once(request_):
    async def test():
        async with side_by_side(nobody()) as s:
            assert "refused the connection" in await s.fails(request_)
            await s.the_other_answers()
            assert s.row.state == "unreachable" and s.row.failed == 1

    play(test())


async def says_nothing(talk: Talk) -> None:
    await talk.hung_up()


async def stops_in_the_head(talk: Talk) -> None:
    await talk.write(HEAD + b"Content-Ty")
    await talk.hung_up()


async def stops_in_the_body(talk: Talk) -> None:
    await talk.write(HALF)
    await talk.hung_up()


async def stops_in_the_stream(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")))
    await talk.hung_up()


async def stops_in_an_event(talk: Talk) -> None:
    await talk.write(EVENTS + chunk(event("one")) + chunk(b'data: {"choi'))
    await talk.hung_up()


HANGS = [says_nothing, stops_in_the_head, stops_in_the_body, stops_in_the_stream, stops_in_an_event]


@pytest.mark.parametrize("way", HANGS)
def test_a_backend_that_hangs_is_hung_up_on_at_the_deadline(way):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            told = await s.broken(STREAM, deadlineMs=200)
            await backend.until(lambda: backend.busy)
            await s.the_other_answers()
            await s.broker.ended(told)
            assert told.last["code"] == "deadline"
            await backend.until(lambda: not backend.busy)

    play(test())


@pytest.mark.parametrize("way", HANGS)
def test_a_backend_that_hangs_is_hung_up_on_when_the_caller_leaves(way):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            told = await s.broken(STREAM)
            await backend.until(lambda: backend.busy)
            await s.broker.send(kind="cancel", taskId=s.broker.id_of(told), reason="client")
            assert (await s.broker.ended(told)).last["code"] == "cancelled"
            await backend.until(lambda: not backend.busy)

    play(test())


def test_a_backend_that_hangs_keeps_no_slot_and_later_requests_have_their_turn():
    async def test():
        async with BrokenBackend(says_nothing) as backend, side_by_side(backend.url, slots=1) as s:
            told = [await s.broken(WHOLE, deadlineMs=150) for _ in range(3)]
            for one in told:
                assert (await s.broker.ended(one)).last["code"] == "deadline"
            await backend.until(lambda: not backend.busy)
            assert backend.most_at_once == 1

            backend.way = well
            assert (await s.ends(WHOLE)).last["status"] == 200

    play(test())


def test_a_stop_does_not_wait_for_a_backend_that_hangs_beyond_the_drain_time():
    async def test():
        async with BrokenBackend(stops_in_the_stream) as backend, side_by_side(backend.url, wait_ready=False,
                                                                              timers={"drain_s": 0.2}) as s:
            await s.broker.ready()
            told = await s.broken(STREAM)
            await s.broker.until(lambda: bool(told.payloads))
            s.publisher.stop()
            async with asyncio.timeout(20):
                assert await s.running == 0
            assert told.last["code"] == "publisher_offline"

    play(test())


async def ends_in_the_head(talk: Talk) -> None:
    await talk.write(HEAD + b"Content-Ty")


async def ends_before_a_word(talk: Talk) -> None:
    pass


async def resets_before_a_word(talk: Talk) -> None:
    talk.reset()


@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("way", [ends_in_the_head, ends_before_a_word, resets_before_a_word])
def test_a_backend_that_closes_before_its_head_is_complete_fails_the_request(way, request_):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            assert "gave no proper answer" in await s.fails(request_)
            assert len(backend.asked) == 1, "what may have begun is not asked again"
            await s.the_other_answers()

    play(test())


async def ends_in_the_body(talk: Talk) -> None:
    await talk.write(HALF)


async def resets_in_the_body(talk: Talk) -> None:
    await talk.write(HALF)
    await asyncio.sleep(0)
    talk.reset()


@pytest.mark.parametrize("way", [ends_in_the_body, resets_in_the_body])
def test_a_backend_that_closes_in_the_middle_of_its_answer_fails_the_request(way):
    async def test():
        async with BrokenBackend(way) as backend, side_by_side(backend.url) as s:
            said = await s.fails(WHOLE)
            assert "backend closed the connection" in said or "gave no proper answer" in said
            await s.the_other_answers()

    play(test())
