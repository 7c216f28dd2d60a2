"""What an answer cost is read wherever a backend says it, and nowhere else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.wire import Usage
from publisher.work.usage import UsageReader, usage_of

TOLD = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
READ = Usage(5, 3, 8)
DONE = b"data: [DONE]\n\n"


def event(payload: object) -> bytes:
    return b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"


def chunk(content: str | None = "hi", finish: str | None = None, **more: object) -> bytes:
    delta = {} if content is None else {"content": content}
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def found_in(*blocks: bytes) -> Usage | None:
    reader = UsageReader()
    for block in blocks:
        reader.block(block)
    return reader.found


# ── streams ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "last",
    [
        [chunk(None, "stop"), event({"choices": [], "usage": TOLD})],  # OpenAI
        [chunk(None, "stop"), chunk(None, usage=TOLD)],  # litellm
        [chunk(None, "stop", usage=TOLD)],  # transformers
        [chunk(None, "stop"), event(b'{"choices":[],\t"usage" : {"prompt_tokens":5,"completion_tokens":3}}')],
        [chunk(None, "stop", usage={**TOLD, "prompt_tokens_details": {"cached_tokens": 1}, "queue_time": 0.5})],
    ],
    ids=["openai", "litellm", "transformers", "without a total", "with more in it"],
)
def test_each_way_of_saying_it_at_the_end_is_read(last):
    stream = [chunk(), chunk(), *last, DONE]
    assert found_in(*stream) == READ
    assert found_in(b"".join(stream)) == READ


def test_null_on_every_chunk_says_nothing_and_takes_nothing_back():
    empty = chunk(usage=None)
    assert found_in(empty, empty) is None
    assert found_in(empty, event({"choices": [], "usage": TOLD}), empty, DONE) == READ


def test_counts_that_grow_with_each_chunk_end_with_the_last():
    growing = [chunk(usage={"prompt_tokens": 5, "completion_tokens": n}) for n in range(4)]
    assert found_in(*growing) == READ
    assert found_in(b"".join(growing)) == READ


def test_llamacpps_timings_count_when_nothing_better_is_said():
    timed = chunk(None, "stop", timings={"prompt_n": 2, "cache_n": 3, "predicted_n": 3, "predicted_ms": 1.5})
    usage = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    assert found_in(chunk(timings={"prompt_n": 2, "predicted_n": 1}), timed) == READ
    assert found_in(timed, usage) == found_in(usage, timed) == found_in(usage + timed) == Usage(1, 1, 2)
    both = event({"usage": TOLD, "timings": {"prompt_n": 9, "predicted_n": 9}})
    assert found_in(both) == READ


def test_anthropics_input_is_told_at_the_begin_and_its_output_at_the_end():
    start = event({"type": "message_start", "message": {"usage": {"input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 1}}})
    end = event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}})
    assert found_in(start, end) == found_in(start + end) == READ
    assert found_in(start, event({"type": "message_delta", "usage": {"input_tokens": 4, "output_tokens": 1}})) == Usage(4, 1, 5)
    assert found_in(end) == Usage(0, 3, 3) and found_in(event({"type": "message_start", "message": None, "usage": TOLD})) is None


def test_a_text_that_speaks_of_usage_fools_nobody():
    words = 'see "usage": {"prompt_tokens": 99} and "timings": {"predicted_n": 9}'
    nested = {"usage": {"prompt_tokens": 99, "completion_tokens": 99}, "timings": {"predicted_n": 9}}
    talk = [
        chunk(words), chunk('"usage"'), chunk(delta=nested),
        event({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": json.dumps(nested)}}]}, **nested}]}),
        event([nested]), event({"usage ": TOLD}), event({"message": nested}),
    ]
    assert found_in(*talk, b"".join(talk)) is None
    assert found_in(*talk, event({"choices": [], "usage": TOLD}), *talk) == READ


@pytest.mark.parametrize(
    "wrong",
    [
        b'"usage"', b'{"usage":', b'{"usage":"free"}', b'{"usage":[1,2]}', b'{"usage":7}', b'{"usage":{}}', b'{"usage":true}',
        b'{"usage":{"prompt_tokens":"5"}}', b'{"usage":{"prompt_tokens":true}}', b'{"usage":{"prompt_tokens":-5}}',
        b'{"usage":{"prompt_tokens":null}}', b'{"usage":{"other":5}}', b'{"usage":{"completion_tokens":1e300}}',
        b'{"usage":{"prompt_tokens":99999999999999999999}}', b'{"usage":{"prompt_tokens":1e999}}', b'{"usage":{"prompt_tokens":{}}}',
        b'{"a":' + b"[" * 9000 + b',"usage":{}}', b'{"timings":{}}', b'{"timings":{"predicted_n":"3"}}', b'{"timings":[]}',
        b'{"usage":{"\xff":5}}', b'{"usage":{"prompt_tokens":"\xff"}}', b'{"timings":\xff}', b'"usage"\xff',
    ],
)
def test_what_is_no_count_is_not_counted_and_harms_nothing(wrong):
    assert found_in(event(wrong)) is None
    assert usage_of(wrong) is None
    good = event({"usage": TOLD})
    assert found_in(good + event(wrong)) == READ and found_in(event(wrong) + good) == READ


def test_events_are_counted_without_the_last_word():
    reader = UsageReader()
    counts = [reader.block(block) for block in (chunk(), chunk() * 3, b"", chunk("data: x\n\n") + DONE, DONE)]
    assert counts == [1, 3, 0, 1, 0] and reader.events == 5


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=30), st.booleans()), max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_however_the_events_fall_into_blocks_the_same_is_read(texts, cuts):
    events = [chunk(words, usage={"prompt_tokens": n, "completion_tokens": 1} if counted else None) for n, (words, counted) in enumerate(texts)]
    places = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    reader = UsageReader()
    for begin, end in zip(places, places[1:]):
        reader.block(b"".join(events[begin:end]))
    counted = [n for n, (_, counted) in enumerate(texts) if counted]
    assert reader.found == (Usage(counted[-1], 1, counted[-1] + 1) if counted else None)
    assert reader.events == len(events)


def test_characters_that_are_broken_elsewhere_do_not_matter():
    assert found_in(event(b'{"choices":[{"text":"\xff"}],"usage":{"prompt_tokens":5,"completion_tokens":3}}')) == READ


# ── whole answers ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer, read",
    [
        ({"choices": [], "usage": TOLD}, READ),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 3}}, READ),
        ({"data": [{"embedding": [0.5] * 999}], "usage": {"prompt_tokens": 5, "total_tokens": 5}}, Usage(5, 0, 5)),
        ({"usage": {"total_tokens": 8}}, Usage(0, 0, 8)),
        ({"usage": {"prompt_tokens": 5.0, "completion_tokens": 3.0}}, READ),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}, Usage(0, 0, 0)),
        ({"usage": {"input_tokens": 5, "output_tokens": 3}}, READ),
        ({"usage": {"input_tokens": 1, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 3, "output_tokens": 3}}, READ),
        ({"content": "x", "timings": {"prompt_n": 5, "predicted_n": 3}}, READ),
        ({"usage": None, "timings": {"prompt_n": 5, "predicted_n": 3}}, READ),
        ({"choices": []}, None),
        ({"choices": [{"message": {"content": '"usage": 1', "usage": TOLD}}]}, None),
    ],
)
def test_a_whole_answers_cost_is_read(answer, read):
    assert usage_of(json.dumps(answer).encode()) == read
    assert usage_of(json.dumps(answer, indent=2).encode()) == read


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_can_do_harm(junk):
    assert usage_of(junk + b'"usage""timings"') is None
    assert found_in(event(junk.replace(b"\n", b"") + b'"usage""timings"')) is None
