"""Anthropic's events on their way through: names, the end, and any pieces."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dialects.broken import BrokenAnswer, CutOff
from broker.dialects.messages_native import NamedEvents, NativeStream, kind_of
from tests.support.engines.anthropic import Script, stream, text, thinking

SAID = stream({"model": "m"}, Script(blocks=(thinking("message_stop"), text('{"type":"error"}', "€"))))


class Pieces:
    """A body in these pieces (``response.Bytes``)."""

    def __init__(self, *pieces: bytes):
        self._pieces = list(pieces)

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def at_eof(self) -> bool:
        return not self._pieces


async def through(*pieces: bytes) -> bytes:
    """What a server says, as our wire carries it."""
    body, said = NativeStream(Pieces(*[piece for piece in pieces if piece])), b""
    while not said.endswith(b"data: [DONE]\n\n"):
        said += await body.readany()
    return said


@given(cuts=st.lists(st.integers(0, len(SAID)), max_size=8), again=st.lists(st.integers(0, len(SAID)), max_size=8))
def test_in_whatever_pieces_it_comes_the_client_gets_the_servers_bytes(cuts, again):
    wire = asyncio.run(through(*pieces_of(SAID, cuts)))
    assert b"event:" not in wire and wire.count(b"\n\n") == SAID.count(b"\n\n") + 1
    names = NamedEvents()
    assert b"".join(names.say(piece) for piece in pieces_of(wire, again)) + names.close() == SAID


def pieces_of(said: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    return [said[start:end] for start, end in zip(edges, edges[1:])]


def test_what_comes_after_the_end_is_left_out_and_the_sign_of_the_end_too():
    assert asyncio.run(through(SAID + SAID)) == asyncio.run(through(SAID))
    names = NamedEvents()
    assert names.say(b"data: [DONE]\n\n") == b""
    with pytest.raises(BrokenAnswer):
        names.close()
    assert names.say(b'data: {"type":"error"}\n\ndata: {"type":"ping"}\n\n') == b'event: error\ndata: {"type":"error"}\n\n'
    assert names.close() == b""


def test_a_stream_without_its_end_is_cut_off():
    for said in (b"", SAID[:300], SAID[: SAID.index(b"event: message_stop")]):
        with pytest.raises(CutOff):
            asyncio.run(through(said))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"type":"ping"}', b"ping"), (b'{"type": "ping"}', b"ping"), (b'{ "a": {"type": "x"}, "type" : "ping" }', b"ping"),
        (b'{"type":"a b"}', b""), (b'{"type":"a\\nb"}', b""), (b'{"type":7}', b""), (b"{}", b""), (b"[DONE]", b""), (b"", b""),
        (b"[" * 9000, b""), (b'{"a":"\xff"', b""), ('{"a":1,"type":"ä"}'.encode(), b""),
    ],
)
def test_an_events_name_is_its_payloads_type_where_that_is_a_word(payload, kind):
    assert kind_of(payload) == kind
