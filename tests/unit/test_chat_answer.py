"""An LLM's answer as its server sends it, read into pieces and tool calls: whatever servers do with ids and indices."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.chat.answer import Heard, read_answer
from broker.chat.pieces import Piece, Text
from broker.errors import BackendFailed, Refusal, Relayed
from broker.relay.exchange import Exchange, Patience
from broker.relay.parts import DONE, head, part
from tests.support.messages import call_piece, chunk, completion

PATIENCE = Patience(deadline_s=5, queue_wait_s=5, idle_s=5, buffer_bytes=1 << 20)
PIECES = '{"a":', ' 1}'


def read(*parts: bytes, limit_bytes: int = 1 << 20) -> tuple[Heard, list[Piece]]:
    heard: list[Piece] = []

    async def reading() -> Heard:
        exchange = Exchange("task", PATIENCE)
        for one in parts:
            exchange.put(one)
        exchange.put(DONE)
        try:
            return await read_answer(exchange, heard.append, limit_bytes=limit_bytes)
        finally:
            exchange.close()

    return asyncio.run(reading()), heard


def streamed(*chunks: str) -> Heard:
    return read(*(part(b"C", b"data: %s\n\n" % one.encode()) for one in (*chunks, "[DONE]")))[0]


def called(*deltas: list[dict]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls that these deltas make."""
    said = streamed(*(chunk(tool_calls=delta) for delta in deltas), chunk("tool_calls"))
    return [(call.id, call.name, call.arguments) for call in said.calls]


def whole(body: object, status: int = 200, **headers: str) -> Heard:
    answer = head(status, {"content-type": "application/json", **headers})
    return read(answer + part(b"C", json.dumps(body).encode()))[0]


def test_pieces_find_their_call_by_index():
    assert called(
        [call_piece(0, "x", "f"), call_piece(1, "y", "g")], [call_piece(1, arguments=PIECES[0]), call_piece(0, arguments="{}")],
        [call_piece(1, arguments=PIECES[1])],
    ) == [("x", "f", "{}"), ("y", "g", '{"a": 1}')]


def test_pieces_without_an_index_belong_to_the_newest_call():
    assert called(
        [call_piece(None, "x", "f", PIECES[0])], [call_piece(None, arguments=PIECES[1])], [call_piece(None, "y", "f", "{}")]
    ) == [("x", "f", '{"a": 1}'), ("y", "f", "{}")]


def test_calls_that_all_have_the_first_index_are_told_apart_by_their_ids():
    assert called([call_piece(0, "x", "f")], [call_piece(0, "y", "f", "{}")]) == [("x", "f", "{}"), ("y", "f", "{}")]
    assert called([call_piece(0, "x", "f", "{}")], [call_piece(0, "x", "f")]) == [("x", "f", "{}")]


@pytest.mark.parametrize("index", [None, 0])
@pytest.mark.parametrize("at_once", [True, False])
def test_whole_calls_without_an_id_are_as_many_as_there_are(index, at_once):
    pieces = [call_piece(index, None, "f", '{"a":1}'), call_piece(index, None, "f", '{"a":2}'), call_piece(index, None, "g")]
    found = called(pieces) if at_once else called(*([piece] for piece in pieces))
    assert [call[1:] for call in found] == [("f", '{"a":1}'), ("f", '{"a":2}'), ("g", "{}")]
    assert len({call[0] for call in found}) == 3 and all(call[0].startswith("call_") for call in found)


def test_a_server_that_repeats_the_name_or_makes_up_ids_still_makes_one_call():
    assert called([call_piece(0, "x", "f", PIECES[0])], [call_piece(0, "x", "f", PIECES[1])]) == [("x", "f", '{"a": 1}')]
    assert called([call_piece(0, None, "f", PIECES[0])], [call_piece(0, None, "f", PIECES[1])])[0][2] == '{"a": 1}'
    assert called([call_piece(0, "x", "f", PIECES[0])], [call_piece(0, "other", None, PIECES[1])]) == [("x", "f", '{"a": 1}')]
    assert called([call_piece(0, "x")], [call_piece(0, None, "f", "{}")]) == [("x", "f", "{}")]


def test_arguments_that_are_an_object_are_said_as_json():
    assert called([{"index": 0, "id": "x", "function": {"name": "f", "arguments": {"a": [1]}}}]) == [("x", "f", '{"a":[1]}')]
    assert called([{"index": 0, "id": "x", "function": {"name": "f", "arguments": None}}]) == [("x", "f", "{}")]
    assert called([{"index": 0, "id": "x", "function": {"name": "f"}}]) == [("x", "f", "{}")]


def test_two_calls_with_one_id_get_ids_of_their_own():
    body = completion("tool_calls", tool_calls=[{"id": "0", "function": {"name": name}} for name in "fg"])
    first, second = whole(body).calls
    assert first.id == "0" != second.id and (first.name, second.name) == ("f", "g")


def test_a_whole_answer_where_a_stream_was_asked_for_is_read_as_well_and_the_other_way_round():
    assert whole(completion(content="hi")).text == "hi"
    assert streamed(chunk(content="h"), chunk("stop", content="i")).text == "hi"
    assert streamed(json.dumps(completion(content="hi"))).finish_reason == "stop"


def test_events_that_come_in_pieces_are_read_whole():
    event = b"data: %s\n\n" % chunk(content="hé").encode()
    said, heard = read(*(part(b"C", event[at : at + 1]) for at in range(len(event))))
    assert said.text == "hé" and heard == [Text("hé")]


@pytest.mark.parametrize(("status", "seen"), [(400, 400), (503, 503), (302, 502)])
def test_a_refusal_keeps_its_status_and_reason(status, seen):
    with pytest.raises(Relayed, match="no tools here") as refused:
        whole({"error": {"message": "no tools here", "code": None, "type": "bad"}}, status)
    assert (refused.value.status, refused.value.code) == (seen, "bad")


def test_an_error_within_a_stream_is_a_refusal():
    with pytest.raises(Relayed, match="out of memory") as refused:
        streamed(chunk(content="h"), json.dumps({"error": {"message": "out of memory", "status": 507}}))
    assert refused.value.status == 507


@pytest.mark.parametrize("body", [None, {}, {"choices": []}, {"choices": 1}, "<html>"])
def test_what_is_no_completion_is_said_to_be_none(body):
    with pytest.raises(BackendFailed, match="not a chat completion"):
        whole(body)


def test_an_answer_has_a_largest_size():
    with pytest.raises(BackendFailed, match="larger than 100 bytes"):
        read(part(b"C", b"data: %s\n\n" % chunk(content="x" * 200).encode()), limit_bytes=100)


_LEAVES = st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(max_size=4) | st.sampled_from(("stop", '{"a":1}'))
_WORDS = ("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "index", "usage", "error", "model")
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6), max_leaves=25
)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.lists(_ANYTHING, max_size=4))
def test_a_stream_of_anything_is_read_or_refused(payloads):
    with suppress(Refusal):
        streamed(*map(json.dumps, payloads))


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(_ANYTHING)
def test_a_whole_answer_of_anything_is_read_or_refused(body):
    with suppress(Refusal):
        whole(body)
