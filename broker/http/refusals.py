"""A refusal as the front says it that was asked: each kind of client knows one shape of error.

The path tells the front, so that what no route answers, and what the door
refuses, has the right shape as well.
"""

from __future__ import annotations

from aiohttp import web

from broker.dialects import messages_answer, ollama_answer
from broker.errors import Refusal
from broker.front_mcp.refusals import error_shape as mcp_error_shape

from .bodies import refusal_reply
from .context import ID

MESSAGES_ID = "request-id"


def front(path: str) -> str:
    """Whose API has that path: "messages", "ollama", "mcp", or "openai" for it and all that is our own."""
    if path == "/mcp":
        return "mcp"
    if path.startswith("/v1/messages"):
        return "messages"
    return "ollama" if path.startswith("/api/") and not path.startswith("/api/v1/") else "openai"


def refuse(request: web.Request, refusal: Refusal) -> web.Response:
    response = refusal_reply(refusal)
    asked = front(request.path)
    if asked == "messages":
        response.body = messages_answer.error_shape(refusal.status, refusal.shape()["error"], request[ID])
        response.headers[MESSAGES_ID] = request[ID]
    elif asked == "ollama":
        response.body = ollama_answer.error_shape(refusal.shape()["error"])
    elif asked == "mcp":
        response.body = mcp_error_shape(refusal.status, refusal.shape()["error"])
    return response
