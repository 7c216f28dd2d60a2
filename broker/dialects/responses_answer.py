"""The response object of OpenAI's Responses API: what is known before the answer, and how an answer ends it.

Ids depend on nothing but the response's own, so that a reply which is read again
becomes the same response again. It reads nothing from a connection.
"""

from __future__ import annotations

from typing import Any

from broker.dialects import responses_shape as shape
from broker.dialects.openai_answer import Usage

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_id(request_id: str) -> str:
    """A response's id tells which request it belongs to."""
    return f"resp_{request_id.removeprefix('req_')}"


def begun(asked: shape.Asked, *, response: str, created_s: int | None) -> dict[str, Any]:
    """The response as it is before its LLM has said anything."""
    text, reasoning = asked.text or shape.TextConfig(), asked.reasoning or shape.Reasoning()
    return {
        "id": response, "object": "response", "created_at": created_s, "status": "in_progress",
        "background": bool(asked.background), "completed_at": None, "error": None, "incomplete_details": None,
        "instructions": asked.instructions, "max_output_tokens": asked.max_output_tokens, "max_tool_calls": asked.max_tool_calls,
        "metadata": asked.metadata or {}, "model": asked.model, "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False, "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary}, "safety_identifier": asked.safety_identifier,
        "service_tier": "default", "store": asked.store is not False, "temperature": asked.temperature,
        "text": {"format": _format(text.format), "verbosity": text.verbosity or "medium"}, "tool_choice": _choice(asked),
        "tools": asked.tools or [], "top_logprobs": 0, "top_p": asked.top_p, "truncation": "disabled", "usage": None,
        "user": asked.user,
    }


def unanswered(response: dict[str, Any]) -> dict[str, Any]:
    """A response as it was before its LLM had said anything."""
    return {**response, "status": "in_progress", "completed_at": None, "error": None, "incomplete_details": None, "output": [], "usage": None}


def counts(usage: Usage) -> dict[str, Any] | None:
    """None where the LLM's server told none."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
    thought = (usage.completion_tokens_details.reasoning_tokens or 0) if usage.completion_tokens_details else 0
    read, written = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": thought}, "total_tokens": read + written,
    }


def failed(response: dict[str, Any], status: int, error: dict[str, Any]) -> dict[str, Any]:
    """The response when it failed so. OpenAI's code is one of few, so ours stands beside it as ``type``."""
    code = "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_prompt"
    said: dict[str, object] = {"code": code, "message": error["message"]}
    if isinstance(error.get("code"), str):
        said["type"] = error["code"]
    return {**response, "status": "failed", "error": said}


def _format(given: shape.Format | None) -> dict[str, object]:
    if given is None or given.type != "json_schema":
        return {"type": given.type if given else "text"}
    return {"type": given.type, "name": given.name, "schema": given.schema, "description": given.description, "strict": given.strict}


def _choice(asked: shape.Asked) -> object:
    choice = asked.tool_choice
    if not isinstance(choice, shape.Choice):
        return choice or "auto"
    if choice.type == "allowed_tools":
        return {"type": choice.type, "mode": choice.mode, "tools": choice.tools}
    return {"type": choice.type, "name": choice.name}
