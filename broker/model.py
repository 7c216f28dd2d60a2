"""What is kept: an LLM row, and how it looks to callers.

Rows come out of Redis as text; here they get their types. Times are kept in
milliseconds of Redis' clock and shown as ISO-8601 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec


class LLM(msgspec.Struct, rename="camel"):
    """An LLM row as ``GET /api/v1/llms`` shows it."""

    id: str
    name: str
    kind: str
    type: str
    model: str
    url: str
    tier: str
    description: str
    api_key_ref: str | None
    extra_config: dict
    provider_session_id: str | None
    status: str
    last_heartbeat_at: str | None
    inactive_since: str | None
    version: int
    created_at: str
    updated_at: str
    slots: int
    channel: bool
    aliases: list[str]

    @classmethod
    def read(cls, row: dict[str, str]) -> LLM:
        return cls(
            id=row["id"],
            name=row["name"],
            kind=row["kind"],
            type=row.get("type", "openai"),
            model=row.get("model", row["name"]),
            url=row.get("url", ""),
            tier=row.get("tier", "fast"),
            description=row.get("description", ""),
            api_key_ref=row.get("apiKeyRef") or None,
            extra_config=_json(row.get("extraConfig")) or {},
            provider_session_id=row.get("session"),
            status=row["status"],
            last_heartbeat_at=iso(row.get("lastHeartbeatAt")),
            inactive_since=iso(row.get("inactiveSince")),
            version=int(row.get("version", 1)),
            created_at=iso(row.get("createdAt")) or "",
            updated_at=iso(row.get("updatedAt")) or "",
            slots=int(row.get("slots", 0 if row["kind"] == "public" else 1)),
            channel=row.get("channel") == "1",
            aliases=_json(row.get("aliases")) or [],
        )

    @property
    def created_s(self) -> int:
        """Unix seconds of its creation, which OpenAI's model list wants."""
        return int(datetime.fromisoformat(self.created_at).timestamp())


class Target(NamedTuple):
    """What it takes to call a public LLM. ``sealed`` is the secret's value under the key of that id; '' for none."""

    llm: str
    type: str
    model: str
    url: str
    secret: str
    sealed: str
    key: str


class Secret(msgspec.Struct, rename="camel"):
    """A secret as it is listed: never its value. ``current``: sealed under the key that seals now."""

    name: str
    current: bool
    created_at: str
    updated_at: str


class Agent(msgspec.Struct, rename="camel"):
    """An agent row as its registration answers it."""

    id: str
    name: str
    kind: str
    description: str
    system_prompt: str
    llm: dict
    project: dict | None
    default_params: dict
    extras: dict
    status: str
    last_heartbeat_at: str | None
    inactive_since: str | None
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str]) -> Agent:
        project = row.get("project")
        return cls(
            id=row["id"],
            name=row["name"],
            kind=row["kind"],
            description=row.get("description", ""),
            system_prompt=row.get("systemPrompt", ""),
            llm={"name": row["llm"]},
            project={"name": project} if project else None,
            default_params=_json(row.get("defaultParams")) or {},
            extras=_json(row.get("extras")) or {},
            status=row["status"],
            last_heartbeat_at=iso(row.get("lastHeartbeatAt")),
            inactive_since=iso(row.get("inactiveSince")),
            owner_id=row.get("owner", ""),
            version=int(row.get("version", 1)),
            created_at=iso(row.get("createdAt")) or "",
            updated_at=iso(row.get("updatedAt")) or "",
        )


def iso(ms: str | None) -> str | None:
    """Milliseconds since 1970 as ISO-8601 UTC; nothing for nothing."""
    if not ms:
        return None
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None
