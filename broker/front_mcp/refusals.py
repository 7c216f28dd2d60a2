"""A refusal at the door of the MCP front, as its clients show it to people: a JSON-RPC error that answers no request
in particular. Its HTTP status says the rest."""

from __future__ import annotations

import msgspec

#: JSON-RPC's words for "you did something that cannot be" and "I failed".
_INVALID_REQUEST, _INTERNAL_ERROR = -32600, -32603


def error_shape(status: int, error: dict) -> bytes:
    """``error``: as the rest of the API says it; it is in ``data``."""
    code = _INVALID_REQUEST if status < 500 else _INTERNAL_ERROR
    told = {"code": code, "message": error["message"], "data": error}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": told})
