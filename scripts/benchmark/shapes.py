"""What travels in the bench: one request, one answer, one stream chunk.

Shared by the load, the mock backend and the canned publisher, so that every
contender moves the same bytes. A stream's wishes stand in the prompt, for that
is what any gateway hands on untouched. Each chunk carries one `@` and the
monotonic clock at its sending: counting needs no parsing, delay is end to end.
"""

from __future__ import annotations

import json
import re
import time

#: A prompt of about 0.4 KB; with its frame a request is about 0.5 KB.
PROMPT = (
    "You are asked to summarise the following note in a few plain sentences. "
    "The harbour at dawn was quiet, the boats lay still, and the first ferry of the day "
    "had not yet left; a keeper walked the length of the pier, counted the lamps, wrote the "
    "number into a small book, and went back to the house at the end of the pier to wait. "
    "Say what the keeper did, in which order, and why it may have mattered to the ferry."
)
#: The paths of the two APIs that are asked, and a word of the last event of a stream of each.
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
LAST_WORDS = {CHAT: b"[DONE]", MESSAGES: b"message_stop"}
WISHES = re.compile(rb"tokens=(\d+) delay_us=(\d+)")
STAMP = re.compile(rb"@(\d{16}) ")

_WORDS = "the keeper walked the pier and counted each lamp before the ferry left that day "
_TEXT = (_WORDS * 4).strip()

ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _TEXT},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 80, "completion_tokens": 52, "total_tokens": 132},
        "system_fingerprint": "fp_bench",
    }
).encode()

_CHUNK = (
    'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    '"model":"bench","choices":[{"index":0,"delta":{"content":"@%016d "},"finish_reason":null}]}\n\n'
)
LAST_EVENTS = (
    'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    '"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    "data: [DONE]\n\n"
)


def request_body(model: str, path: str = CHAT, *, tokens: int = 0, delay_us: int = 0) -> bytes:
    """A chat request for that path; `tokens` above 0 makes it a stream of that many chunks."""
    prompt = PROMPT if not tokens else f"{PROMPT} tokens={tokens} delay_us={delay_us}"
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0.2}
    if path == MESSAGES:
        body["max_tokens"] = 1024
    if tokens:
        body["stream"] = True
    return json.dumps(body).encode()


def chunk_event() -> str:
    """One token as an SSE event that says when it was sent (µs, this machine's clock)."""
    return _CHUNK % (time.monotonic_ns() // 1000)


def wishes(body: bytes) -> tuple[int, int]:
    """(chunks, µs between them) that a streaming request asks for."""
    found = WISHES.search(body)
    return (int(found[1]), int(found[2])) if found else (50, 0)
