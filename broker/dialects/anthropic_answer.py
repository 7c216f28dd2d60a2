"""An Anthropic server's answer, as one of OpenAI's (``response.py``): whole, stream or error.

Its head is read, its body is not yet; status and ``Retry-After`` stay. It keeps
nothing of the connection: closing it closes the server's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from broker.dialects.anthropic_message import (
    Counts, Message, encode, error_of, error_shape, finish_reason, read, tool_call,
)
from broker.dialects.anthropic_request import Untranslatable
from broker.dialects.anthropic_stream import TranslatedStream
from broker.dialects.broken import BrokenAnswer
from broker.dialects.response import Response

BODY_BYTES = 64 << 20
JSON = "application/json"
EVENTS = "text/event-stream"

_decode = msgspec.json.Decoder(Message).decode


class TranslatedAnswer:
    def __init__(self, response: Response, include_usage: bool) -> None:
        self._response = response
        self.status = response.status
        if self.status < 300 and response.content_type == EVENTS:
            self.content_type = EVENTS
            self.content = TranslatedStream(response.content, include_usage)
        else:
            self.content_type = JSON
            self.content = WholeBody(response, completion_of if self.status < 300 else _error_for(response))
        self.headers = {"content-type": self.content_type}
        if "Retry-After" in response.headers:
            self.headers["retry-after"] = response.headers["Retry-After"]

    def close(self) -> None:
        self._response.close()


class RefusedAnswer:
    """Our own word on a request that the server was never asked."""

    status = 400
    content_type = JSON

    def __init__(self, why: Untranslatable) -> None:
        self.headers = {"content-type": JSON}
        self.content = Said(error_shape(str(why), "invalid_request_error", why.code, why.param))

    def close(self) -> None:
        pass


class WholeBody:
    """A body that is read to its end and then said anew."""

    def __init__(self, response: Response, translate: Callable[[bytes], bytes]) -> None:
        self._upstream = response.content
        self._translate = translate
        self._said = False

    async def readany(self) -> bytes:
        if self._said:
            return b""
        parts, size = [], 0
        while part := await self._upstream.readany():
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES:
                raise BrokenAnswer(f"the backend's answer is larger than {BODY_BYTES >> 20} MiB")
        self._said = True
        return self._translate(b"".join(parts))

    def at_eof(self) -> bool:
        return self._said


class Said:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def readany(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def at_eof(self) -> bool:
        return not self._body


def completion_of(body: bytes) -> bytes:
    said = read(_decode, body)
    if said is None:
        raise BrokenAnswer("the backend's answer is not a message of Anthropic's API: check the provider's type")
    text = "".join([block.text for block in said.content if block.type == "text" and block.text])
    thoughts = "".join([block.thinking for block in said.content if block.type == "thinking" and block.thinking])
    calls = [tool_call(block, bytes(block.input).decode()) for block in said.content if block.type == "tool_use"]
    message: dict[str, object] = {"role": "assistant", "content": text or (None if calls else "")}
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(said.stop_reason), "logprobs": None}
    return encode({
        "id": said.id, "object": "chat.completion", "created": int(time.time()), "model": said.model,
        "choices": [choice], "usage": (said.usage or Counts()).usage(),
    })


def _error_for(response: Response) -> Callable[[bytes], bytes]:
    otherwise = f"the backend answered {response.status} {response.reason or ''}".rstrip() + " without a reason"
    return lambda body: error_of(body, otherwise)
