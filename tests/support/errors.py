"""An error as a client reads it, whichever front's shape it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Told:
    """``type`` is '' where a shape knows none."""

    message: str
    type: str
    code: str | None


def told(answer: object) -> Told | None:
    """None for what is no error in OpenAI's, Anthropic's, Ollama's or JSON-RPC's shape."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(answer, dict) and answer.get("jsonrpc") == "2.0" and error:
        data = error.get("data", {})
        return Told(error["message"], data.get("type", ""), data.get("code"))
    if isinstance(error, str):
        return Told(error, "", answer["code"])
    if not isinstance(error, dict):
        return None
    if answer.get("type") == "error" and answer["request_id"].startswith("req_"):
        return Told(error["message"], error["type"], error["details"]["error_code"])
    return Told(error["message"], error["type"], error["code"]) if "param" in error else None
