"""What an agent is called as a tool: its own name where that is a possible one, else a possible form of it.

Two agents never share a name, and one's name never changes; no table is kept for that.
"""

from __future__ import annotations

import hashlib
import re

_POSSIBLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")
#: How names end that were made here. No agent's own name may look like that, or it could pass for another's.
_MADE = re.compile(r"-[0-9a-f]{12}$")


def tool_name(agent: str) -> str:
    """The agent's name if it is a possible one; else what is possible of it, and 12 digits of its hash."""
    if _POSSIBLE.fullmatch(agent) and not _MADE.search(agent):
        return agent
    readable = _ODD.sub("_", agent).strip("_-")[:51] or "agent"
    return f"{readable}-{hashlib.sha256(agent.encode()).hexdigest()[:12]}"


def is_made(tool: str) -> bool:
    """Whether a tool's name is not its agent's own, which then has to be looked for."""
    return _MADE.search(tool) is not None
