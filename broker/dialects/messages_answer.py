"""A whole answer of an OpenAI server said anew as a message of Anthropic's API, and its errors.

Reasons, counts and errors are shared with ``messages_stream.py``. It reads nothing
from a connection.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import Call, Choice, Usage, encode, read_whole

STOP = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}
ERRORS = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    408: "timeout_error", 409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error",
    503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def message_of(body: bytes, request_id: str, model: str, stops: list[str]) -> bytes:
    """The message. Raises BrokenAnswer."""
    said, choice, usage = read_whole(body)
    content: list[dict[str, object]] = []
    if said.thoughts:
        content.append({"type": "thinking", "thinking": said.thoughts, "signature": ""})
    if said.text:
        content.append({"type": "text", "text": said.text})
    content += [_tool_use(call) for call in said.tool_calls or ()]
    reason, sequence = stopped(choice, stops, calls=bool(said.tool_calls))
    return encode({
        "id": message_id(request_id), "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": reason, "stop_sequence": sequence, "usage": counts(usage),
    })


def message_id(request_id: str) -> str:
    """An answer's id tells which request it belongs to."""
    return f"msg_{request_id.removeprefix('req_')}"


def call_id(call: Call) -> str:
    return call.id or f"toolu_{uuid.uuid4().hex}"


def stopped(choice: Choice, stops: list[str], *, calls: bool) -> tuple[str, str | None]:
    """Why the answer ended, and the stop sequence that ended it, where the server says so."""
    if choice.stop_reason in stops:
        return "stop_sequence", choice.stop_reason
    reason = STOP.get(choice.finish_reason or "", "end_turn")
    # Some servers say "stop" after a call as well.
    return ("tool_use" if calls and reason == "end_turn" else reason), None


def counts(usage: Usage) -> dict[str, int]:
    """As Anthropic counts: what was read from a cache is not among the input tokens."""
    cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
    return {
        "input_tokens": max(0, (usage.prompt_tokens or 0) - cached), "output_tokens": usage.completion_tokens or 0,
        "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0,
    }


def error_shape(status: int, error: dict[str, Any], request_id: str) -> bytes:
    """Anthropic's error. Our codes stand where its SDK looks for codes."""
    code = error.get("code")
    kind = ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
    if code == "wake_failed":
        kind = "api_error"  # another try would wake it again
    shown: dict[str, object] = {"type": kind, "message": error["message"]}
    if isinstance(code, str) and code:
        shown["details"] = {"error_code": code}
    return encode({"type": "error", "error": shown, "request_id": request_id})


def _tool_use(call: Call) -> dict[str, object]:
    arguments = call.arguments.strip() or "{}"
    name = call.function.name or ""
    try:
        _object(arguments)
    except (msgspec.MsgspecError, RecursionError):
        raise BrokenAnswer(f"the LLM called the tool {name[:100]!r} with arguments that are not a JSON object") from None
    return {"type": "tool_use", "id": call_id(call), "name": name, "input": msgspec.Raw(arguments.encode())}
