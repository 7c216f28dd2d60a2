"""Whether the MCP SDK is here, which is an extra. It never loads it."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = "tools need the MCP SDK: pip install 'reveille[agents]'"


def sdk_is_here() -> bool:
    return find_spec("mcp") is not None
