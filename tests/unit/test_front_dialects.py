"""Whatever an LLM's server says, the fronts' translators say it anew or refuse it; nothing else."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.dialects.broken import BrokenAnswer
from broker.dialects.messages_answer import message_of
from broker.dialects.messages_stream import EventWriter
from broker.dialects.ollama_answer import LineWriter, answer_of, embeddings_of

_WORDS = (
    "choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "index", "finish_reason",
    "usage", "prompt_tokens", "error", "code", "status", "reasoning_content", "stop_reason", "text", "data", "embedding",
)
_LEAVES = st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(max_size=4) | st.sampled_from(("stop", "tool_calls"))
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6), max_leaves=25
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.lists(_ANYTHING, max_size=4))
def test_a_stream_of_anything_is_said_or_refused(payloads):
    stream = b"".join([b"data: %s\n\n" % json.dumps(payload).encode() for payload in payloads])
    for writer in (EventWriter("req_1", "m", ["x"]), LineWriter("m", dict, chatting=True), LineWriter("m", dict, chatting=False)):
        with suppress(BrokenAnswer):
            (writer.say(stream) + writer.close()).decode()


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(_ANYTHING)
def test_a_whole_answer_of_anything_is_said_or_refused(answer):
    body = json.dumps(answer).encode()
    for say in (
        lambda: message_of(body, "req_1", "m", ["x"]), lambda: answer_of(body, "m", {}, chatting=True),
        lambda: embeddings_of(body, "m", {}, single=False), lambda: embeddings_of(body, "m", {}, single=True),
    ):
        with suppress(BrokenAnswer):
            json.loads(say())
