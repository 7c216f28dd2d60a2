"""The rules of Anthropic's API that a translated request could break, as the real server refuses them."""

from __future__ import annotations

FIELDS = {
    "model", "max_tokens", "messages", "stream", "system", "temperature", "top_p", "top_k", "stop_sequences",
    "tools", "tool_choice", "output_config", "metadata",
}


def broken_rule(headers: dict[str, str], asked: dict) -> str:
    """What the real server would refuse, in its words."""
    if headers.get("anthropic-version") != "2023-06-01":
        return "anthropic-version: header is required"
    if unknown := set(asked) - FIELDS:
        return f"{sorted(unknown)[0]}: Extra inputs are not permitted"
    if not isinstance(asked.get("max_tokens"), int) or not asked.get("messages"):
        return "max_tokens, messages: Field required"
    if not 0 <= asked.get("temperature", 1) <= 1:
        return "temperature: range: 0..1"
    if "tool_choice" in asked and not asked.get("tools"):
        return "tool_choice may only be specified while providing tools"
    return _broken_conversation(asked["messages"])


def _broken_conversation(messages: list[dict]) -> str:
    open_calls: set[str] = set()
    before = ""
    for turn in messages:
        if turn["role"] == before:
            return "messages: roles must alternate"
        before = turn["role"]
        blocks = turn["content"]
        if any(block["type"] == "text" and not block["text"] for block in blocks):
            return "messages: text content blocks must be non-empty"
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if answered != open_calls:
            return "messages: `tool_use` ids were found without `tool_result` blocks immediately after"
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return ""
