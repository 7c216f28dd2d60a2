"""What agents share: projects, personalities and prompts, and how they look to callers.

Rows come out of Redis as text; here they get their types, as LLMs and agents do in
``model.py``. Nothing is read or checked here.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from .model import Ref, iso


class McpServer(msgspec.Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A server that gives the agents of a project tools: at a ``url``, or a ``tool_server`` at a publisher.

    ``api_key_ref`` names a secret, sent as ``Authorization: Bearer`` or as the header ``api_key_header``. ``tools``: the
    names of those that may be used; left out: all.
    """

    name: str
    url: str | UnsetType = UNSET
    api_key_ref: str | UnsetType = UNSET
    api_key_header: str | UnsetType = UNSET
    tool_server: str | UnsetType = UNSET
    tools: list[str] | UnsetType = UNSET
    timeout_seconds: float | UnsetType = UNSET


class Project(msgspec.Struct, rename="camel"):
    """A project as ``GET /api/v1/projects`` shows it: tools and prompts that its agents have in common."""

    id: str
    name: str
    description: str
    mcp_servers: list[McpServer]
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str], named: list[str]) -> Project:
        servers = msgspec.json.decode(row.get("servers") or "[]", type=list[McpServer])
        return cls(id=row["id"], name=row["name"], description=row.get("description", ""), mcp_servers=servers, **_kept(row))


class PromptRef(msgspec.Struct):
    """A prompt as a personality names it. ``project``, ``agent``: the name of the one that it belongs to."""

    id: str | None = None
    name: str = ""
    project: str | None = None
    agent: str | None = None


class Personality(msgspec.Struct, rename="camel"):
    """A personality as ``GET /api/v1/personalities`` shows it: prompts in their order, and parameters."""

    id: str
    name: str
    description: str
    prompts: list[PromptRef]
    params: dict
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str], named: list[str]) -> Personality:
        """``named``: id, name, scope, of, of each prompt."""
        prompts = [
            PromptRef(id, name, of if scope == "project" else None, of if scope == "agent" else None)
            for id, name, scope, of in zip(*(named[part::4] for part in range(4)), strict=True)
        ]
        params = msgspec.json.decode(row.get("params") or "{}")
        return cls(
            id=row["id"], name=row["name"], description=row.get("description", ""), prompts=prompts, params=params, **_kept(row)
        )


class Prompt(msgspec.Struct, rename="camel"):
    """A prompt as ``GET /api/v1/prompts`` shows it. ``scope``: global, project or agent; the last two are named."""

    id: str
    name: str
    content: str
    scope: str
    project: Ref | None
    agent: Ref | None
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str], named: list[str]) -> Prompt:
        """``named``: the id of its project or agent, '' for none."""
        scope = row["scope"]
        of = Ref(named[0] or None, row["of"])
        return cls(
            id=row["id"], name=row["name"], content=row["content"], scope=scope,
            project=of if scope == "project" else None, agent=of if scope == "agent" else None, **_kept(row),
        )


def _kept(row: dict[str, str]) -> dict[str, object]:
    """What all three have."""
    return {
        "owner_id": row.get("owner", ""), "version": int(row.get("version", 1)),
        "created_at": iso(row.get("createdAt")) or "", "updated_at": iso(row.get("updatedAt")) or "",
    }
