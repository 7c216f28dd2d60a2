"""What is kept: LLM and agent rows, and how they look to callers.

Rows come out of Redis as text; here they get their types. Times are kept in
milliseconds of Redis' clock and shown as ISO-8601 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

#: What an agent's name follows where clients ask for a model.
AGENT_PREFIX = "agent/"


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
        return _unix_s(self.created_at)


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


class Ref(msgspec.Struct):
    """Another row as a row names it. ``id`` None: there is none of that name now."""

    id: str | None = None
    name: str = ""


class Persona(NamedTuple):
    """What it takes to answer for an agent: which LLM, and what is laid over the call (JSON object ``params``)."""

    agent: str
    llm: str
    system_prompt: str
    params: bytes


class Agent(msgspec.Struct, rename="camel"):
    """An agent row as ``GET /api/v1/agents`` shows it. One of ``llm`` and ``model`` says who answers for it."""

    id: str
    name: str
    description: str
    system_prompt: str
    llm: Ref | None
    model: str | None
    project: Ref | None
    default_personality: Ref | None
    proxy_model_name: str
    default_params: dict
    extras: dict
    kind: str
    status: str
    last_heartbeat_at: str | None
    inactive_since: str | None
    owner_id: str
    version: int
    created_at: str
    updated_at: str

    @classmethod
    def read(cls, row: dict[str, str]) -> Agent:
        llm, project = row.get("llm"), row.get("project")
        return cls(
            id=row["id"],
            name=row["name"],
            description=row.get("description", ""),
            system_prompt=row.get("systemPrompt", ""),
            llm=Ref(row.get("llmId") or None, llm) if llm else None,
            model=row.get("model") or None,
            # Projects are no rows of their own: their name is all there is of them.
            project=Ref(project, project) if project else None,
            default_personality=None,
            proxy_model_name=AGENT_PREFIX + row["name"],
            default_params=_json(row.get("defaultParams")) or {},
            extras=_json(row.get("extras")) or {},
            kind=row["kind"],
            status=row["status"],
            last_heartbeat_at=iso(row.get("lastHeartbeatAt")),
            inactive_since=iso(row.get("inactiveSince")),
            owner_id=row.get("owner", ""),
            version=int(row.get("version", 1)),
            created_at=iso(row.get("createdAt")) or "",
            updated_at=iso(row.get("updatedAt")) or "",
        )

    @property
    def created_s(self) -> int:
        """Unix seconds of its creation, which OpenAI's model list wants."""
        return _unix_s(self.created_at)


def _unix_s(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())


def iso(ms: str | None) -> str | None:
    """Milliseconds since 1970 as ISO-8601 UTC; nothing for nothing."""
    if not ms:
        return None
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None
