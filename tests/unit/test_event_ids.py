"""The ids of a kept stream's events: however the stream was cut into entries, and wherever a client was cut off, its
next reading goes on exactly there."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.relay.exchange import Exchange, Patience
from broker.relay.inbound import event
from broker.relay.numbering import BadEventId, Numbering
from broker.relay.parts import DONE, failure, head, part
from broker.store.kept import Place
from broker.errors import Refusal
from broker.http.voice import Numbered
from tests.support.resumed import events

EVENTS = {"content-type": "text/event-stream"}
PAYLOADS = st.lists(st.sampled_from([b"a", b"", b"two\nlines", b"id: 7-0-1", b"x" * 50, b"[DONE]", "tök€n".encode()]), max_size=6)
#: A stream as it is kept: the payloads of each entry, and how many of them are one part.
ENTRIES = st.lists(st.tuples(PAYLOADS, st.integers(1, 3)), min_size=1, max_size=6)
ENDS = st.sampled_from([DONE, failure(502, "backend_error", "broke"), b"own"])


def kept(entries, end: bytes) -> list[tuple[bytes, bytes]]:
    """(entry, parts) as Redis has them."""
    stream = []
    for number, (payloads, together) in enumerate(entries):
        parts = head(200, EVENTS) if number == 0 else b""
        for start in range(0, len(payloads), together):
            parts += part(b"C", b"".join(event(payload) for payload in payloads[start : start + together]))
        stream.append((b"17000-%d" % number if number % 2 else b"%d-0" % (17000 + number), parts))
    stream.sort(key=lambda one: Place.read(one[0]))
    # With the last words, or after them.
    if end == b"own":
        stream.append((b"99999-0", DONE))
    else:
        stream[-1] = (stream[-1][0], stream[-1][1] + end)
    return stream


async def read(stream, at_once: list[int], after: str = "") -> bytes:
    """What a client gets who has everything up to that event, when the entries come so many at once."""
    numbering = Numbering(after)
    voice = Numbered(numbering)
    exchange = Exchange("t", Patience(deadline_s=60, queue_wait_s=60, idle_s=60, buffer_bytes=1 << 20))
    voice.begin(exchange)
    coming = [one for one in stream if Place.read(one[0]) > numbering.start]
    said = b""
    cuts = list(at_once)
    while not exchange.ended:
        for _ in range(cuts.pop() if cuts else 1):
            if coming:
                entry, parts = coming.pop(0)
                exchange.put(part(b"K", entry) + parts)
        try:
            said += voice.say(await exchange.next() or b"")
        except Refusal as refusal:
            return said + voice.fail(refusal.status, refusal.shape()["error"])
    return said + voice.end()


@given(ENTRIES, ENDS, st.lists(st.integers(1, 4), max_size=6), st.lists(st.integers(1, 4), max_size=6))
def test_after_any_event_comes_the_rest_and_nothing_twice(entries, end, at_once, again):
    stream = kept(entries, end)
    whole = events(asyncio.run(read(stream, at_once)))
    ids = [event_id for event_id, _ in whole]
    assert all(ids) and len(set(ids)) == len(ids)
    for number, event_id in enumerate(ids):
        assert events(asyncio.run(read(stream, again, event_id))) == whole[number + 1 :]


@given(ENTRIES, ENDS, st.lists(st.integers(1, 4), max_size=6))
def test_the_payloads_are_those_of_a_stream_without_ids(entries, end, at_once):
    stream = kept(entries, end)
    words = [payload.replace(b"\r", b"\n") for payloads, _ in _in_order(entries) for payload in payloads]
    got = [payload for _, payload in events(asyncio.run(read(stream, at_once)))]
    assert got[: len(words)] == words


def _in_order(entries):
    places = [(17000, n) if n % 2 else (17000 + n, 0) for n in range(len(entries))]
    return [one for _, one in sorted(zip(places, entries, strict=True), key=lambda pair: pair[0])]


@pytest.mark.parametrize("after", ["1", "1-2", "1-2-3-4", "a-b-c", "1-2-3 ", "1-2--3", "９-0-1"])
def test_what_is_no_id_is_refused(after):
    with pytest.raises(BadEventId):
        Numbering(after)


async def test_an_answer_in_one_piece_has_no_ids():
    numbering = Numbering()
    exchange = Exchange("t", Patience(deadline_s=60, queue_wait_s=60, idle_s=60, buffer_bytes=1 << 20))
    exchange.numbering = numbering
    body = b'{"text": "a\n\nb"}'
    exchange.put(part(b"K", b"1-0") + head(200, {"content-type": "application/json"}) + part(b"C", body) + DONE)
    assert await exchange.next() == body
