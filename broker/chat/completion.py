"""One chat completion in OpenAI's shapes, said by us: in chunks as it comes, or whole. One id, one model, one ``[DONE]``.

It reads nothing and sends nothing; what it gives is for the fronts' voices.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from broker.dialects.sse import DONE

from .pieces import ToolCall

_encode = msgspec.json.Encoder().encode


class Completion:
    """``tells_usage``: whether a stream ends with the counts."""

    def __init__(self, request_id: str, model: str, *, tells_usage: bool):
        self._same = {"id": f"chatcmpl-{request_id.removeprefix('req_')}", "created": int(time.time()), "model": model}
        self._tells_usage = tells_usage
        self._begun = False

    def piece(self, **delta: object) -> bytes:
        """The event of the next words (``content``) or thoughts (``reasoning_content``)."""
        first = {} if self._begun else {"role": "assistant"}
        self._begun = True
        return self._event([{"index": 0, "delta": {**first, **delta}, "logprobs": None, "finish_reason": None}])

    def end(self, calls: Sequence[ToolCall], finish_reason: str, usage: dict | None) -> bytes:
        """The last events of a stream: the caller's calls, if there are any, why it ends, the counts."""
        said = b""
        if calls or not self._begun:
            said = self.piece(tool_calls=[{"index": at, **_shape(call)} for at, call in enumerate(calls)]) if calls else self.piece(content="")
        said += self._event([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish_reason}])
        if self._tells_usage and usage is not None:
            said += self._event([], usage=usage)
        return said + DONE

    def whole(self, text: str, thoughts: str, calls: Sequence[ToolCall], finish_reason: str, usage: dict | None) -> bytes:
        message: dict[str, object] = {"role": "assistant", "content": text or (None if calls else "")}
        if thoughts:
            message["reasoning_content"] = thoughts
        if calls:
            message["tool_calls"] = [_shape(call) for call in calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        told = {"usage": usage} if usage is not None else {}
        return _encode({**self._same, "object": "chat.completion", "choices": [choice], **told})

    def _event(self, choices: list, **more: object) -> bytes:
        return b"data: %s\n\n" % _encode({**self._same, "object": "chat.completion.chunk", "choices": choices, **more})


def _shape(call: ToolCall) -> dict:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
