"""One request and its reply: what comes out of ``next``, and the times that only the asking replica keeps."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import DeadlineExceeded, QueueWaitExceeded, Relayed, StalledStream
from broker.relay.exchange import Exchange, Patience
from broker.relay.parts import DONE, failure, head, part

PATIENT = {"deadline_s": 5.0, "queue_wait_s": 5.0, "idle_s": 5.0, "buffer_bytes": 1000}


def exchange(**given) -> Exchange:
    return Exchange("t", Patience(**{**PATIENT, **given}))


def soon(act, *args) -> None:
    asyncio.get_running_loop().call_later(0.02, act, *args)


async def test_whatever_piled_up_comes_at_once():
    it = exchange()
    it.put(part(b"C", b"a") + part(b"C", b"b"))
    it.put(part(b"C", b"c"))
    assert await it.next() == b"abc"


async def test_the_head_comes_before_any_byte():
    it = exchange()
    it.put(head(201, {"x": "y"}))
    assert await it.next() == b"" and it.head.status == 201
    it.put(head(500, {}))
    await it.next()
    assert it.head.status == 201


async def test_done_ends_it():
    it = exchange()
    it.put(part(b"C", b"a") + DONE)
    assert await it.next() == b"a" and it.done and it.ended


async def test_bytes_before_an_error_are_given_first():
    it = exchange()
    it.put(part(b"C", b"a") + failure(502, "backend_error", "broke"))
    assert await it.next() == b"a" and not it.ended
    with pytest.raises(Relayed) as refused:
        await it.next()
    assert (refused.value.status, refused.value.code, refused.value.message) == (502, "backend_error", "broke")
    assert it.ended and not it.done


async def test_what_this_side_gave_up_has_not_ended_at_the_publisher():
    it = exchange()
    it.give_up(failure(503, "broker_stopped", "going"))
    with pytest.raises(Relayed):
        await it.next()
    assert not it.ended


async def test_it_waits_for_what_comes_later():
    it = exchange()
    soon(it.put, part(b"C", b"a"))
    assert await it.next() == b"a"


async def test_it_says_when_nothing_came_for_a_while():
    it = exchange()
    assert await it.next(0.02) is None
    it.put(part(b"C", b"a"))
    assert await it.next(0.02) == b"a"


async def test_news_of_the_line_are_not_for_the_client():
    it = exchange()
    it.put(b"Q0:")
    assert await it.next(0.05) is None


async def test_the_deadline_ends_it():
    with pytest.raises(DeadlineExceeded) as refused:
        await exchange(deadline_s=0.03).next()
    assert refused.value.status == 504 and not isinstance(refused.value, StalledStream)


async def test_the_line_has_a_time_of_its_own():
    it = exchange(queue_wait_s=0.03)
    it.queued(1, 1, waking=False)
    with pytest.raises(QueueWaitExceeded):
        await it.next()


async def test_out_of_the_line_its_time_counts_no_more():
    it = exchange(queue_wait_s=0.05)
    it.queued(1, 1, waking=False)
    it.put(b"Q0:")
    assert await it.next(0.1) is None


async def test_while_its_llm_wakes_the_lines_time_does_not_count():
    it = exchange(queue_wait_s=0.02)
    it.queued(1, 1, waking=True)
    assert await it.next(0.06) is None


async def test_silence_counts_only_after_the_first_part():
    it = exchange(idle_s=0.03)
    assert await it.next(0.06) is None
    it.put(part(b"C", b"a"))
    await it.next()
    with pytest.raises(StalledStream):
        await it.next()


async def test_each_part_begins_the_silence_anew():
    it = exchange(idle_s=0.08)
    for _ in range(4):
        soon(it.put, part(b"C", b"a"))
        assert await it.next() == b"a"


async def test_a_reader_that_is_away_too_long_is_cancelled():
    blocked = asyncio.Event()

    async def client() -> Exchange:
        made.append(exchange(buffer_bytes=10))
        await blocked.wait()

    made: list[Exchange] = []
    reading = asyncio.create_task(client())
    await asyncio.sleep(0)
    for _ in range(3):
        made[0].put(part(b"C", b"123456"))
    await asyncio.wait({reading})
    assert reading.cancelled() and made[0].overflow().code == "client_too_slow"


async def test_a_reader_that_waits_may_be_given_any_amount_at_once():
    async def client() -> bytes:
        made.append(exchange(buffer_bytes=10))
        return await made[0].next()

    made: list[Exchange] = []
    reading = asyncio.create_task(client())
    await asyncio.sleep(0)
    for _ in range(20):
        made[0].put(part(b"C", b"123456"))
    assert await reading == b"123456" * 20 and made[0].overflow() is None
