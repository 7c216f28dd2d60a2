"""The SSE reader: whatever a backend writes and however it is cut, events come out whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dialects.sse import EventReader, EventTooLarge, end_of_done, payloads

LIMIT = 1 << 20


def read(*parts: bytes) -> bytes:
    reader = EventReader(LIMIT)
    return b"".join(reader.feed(part) for part in parts) + reader.rest()


def test_a_plain_stream_passes_as_it_came():
    stream = b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'
    assert read(stream) == stream


@pytest.mark.parametrize(
    "written, said",
    [
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b'data: {"a":\ndata: 1}\n\n', [b'{"a": 1}']),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"database: x\n\ndata: a\n\n", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data: [DONE]", [b"[DONE]"]),
        (b"data: torn", []),
    ],
)
def test_every_other_way_of_writing_is_read_too(written, said):
    assert payloads(read(written)) == said
    assert payloads(read(*(written[i : i + 1] for i in range(len(written))))) == said


def test_the_end_without_a_whole_event_is_called_torn():
    reader = EventReader(LIMIT)
    reader.feed(b'data: {"half')
    assert reader.rest() == b"" and reader.torn


def test_an_event_beyond_the_limit_is_refused_before_it_is_held():
    reader = EventReader(1000)
    with pytest.raises(EventTooLarge):
        for _ in range(20):
            reader.feed(b"data: " + b"x" * 100)


def test_a_payload_that_ends_like_done_is_not_done():
    assert end_of_done(b"data: not data: [DONE]\n\n") == 0
    assert end_of_done(b"data: a\n\ndata: [DONE]\n\nrest") == len(b"data: a\n\ndata: [DONE]\n\n")
    assert end_of_done(b"data: [DONE]\n\n") == len(b"data: [DONE]\n\n")


lines = st.sampled_from(
    [b"data: x\xe2\x82\xac", b"data:y", b"data", b": c", b"event: e", b"", b"", b'data: {"a": "\\n"}', b"data: [DONE]"]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(lines, ends), max_size=30), st.lists(st.integers(1, 200), max_size=10))
def test_however_a_stream_is_cut_the_same_events_come_out(written, cuts):
    stream = b"".join(line + end for line, end in written) + b"\n\n"
    places = sorted({min(cut, len(stream)) for cut in cuts})
    parts = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)])]
    assert read(*parts) == read(stream)
    assert b"\r" not in read(stream)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_can_make_it_say_anything_but_data(junk):
    said = read(junk, b"\n\n")
    assert all(event.startswith(b"data: ") for event in said.split(b"\n\n")[:-1])
    assert said == b"" or said.endswith(b"\n\n")
