"""What is kept: LLM and agent rows, and how they look to callers.

Rows come out of Redis as text; here they get their types. Times are kept in
milliseconds of Redis' clock and shown as ISO-8601 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from .wire import TOOLS

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
        return unix_s(self.created_at)


class ToolServer(msgspec.Struct, rename="camel"):
    """A tool server at a publisher as ``GET /api/v1/tool-servers`` shows it."""

    id: str
    name: str
    description: str
    provider_session_id: str | None
    status: str
    last_heartbeat_at: str | None
    inactive_since: str | None
    version: int
    created_at: str
    updated_at: str
    slots: int
    channel: bool

    @classmethod
    def read(cls, row: dict[str, str]) -> ToolServer:
        llm = LLM.read(row)
        shown = {name: getattr(llm, name) for name in cls.__struct_fields__}
        return cls(**{**shown, "name": llm.name.removeprefix(TOOLS)})


class Session(msgspec.Struct, rename="camel"):
    """A publisher as ``GET /api/v1/sessions`` shows it, with the names of its rows. ``status``: active while its
    heartbeats come, else inactive. ``instance``: its process now, None for one that says none."""

    id: str
    owner: str
    instance: str | None
    channel: bool
    status: str
    last_heartbeat_at: str | None
    created_at: str
    llms: list[str]
    agents: list[str]
    tool_servers: list[str]

    @classmethod
    def read(cls, told: list[str]) -> Session:
        """``told``: as ``sessions_read.lua`` answers."""
        sid, owner, instance, channel, status, beat, created, *rows = told

        def names(prefix: str) -> list[str]:
            return sorted(row.removeprefix(prefix) for row in rows if row.startswith(prefix))

        tool_servers = names(f"llm:{TOOLS}")
        llms = [name for name in names("llm:") if not name.startswith(TOOLS)]
        return cls(
            sid, owner, instance or None, channel == "1", status, iso(beat), iso(created) or "", llms, names("agent:"), tool_servers
        )


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
    """What it takes to answer for an agent: which LLM, with what laid over the call, and which tools.

    ``model``: of one that names a model, so that whoever else has it may answer; the LLM is then the most awake one.
    ``prompts``: none empty. ``params``: JSON objects, each coming before the ones before it. ``servers``: the
    project's tool servers, a JSON list. ``extras``: a JSON object. ``project``: its name, '' for none.
    """

    agent: str
    llm: str
    prompts: tuple[str, ...]
    params: tuple[bytes, ...]
    servers: bytes
    extras: bytes
    project: str
    model: str = ""


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
        llm, project, personality = row.get("llm"), row.get("project"), row.get("personality")
        return cls(
            id=row["id"],
            name=row["name"],
            description=row.get("description", ""),
            system_prompt=row.get("systemPrompt", ""),
            llm=Ref(row.get("llmId") or None, llm) if llm else None,
            model=row.get("model") or None,
            # A publisher's agent may name a project that nobody made yet.
            project=Ref(row.get("projectId") or None, project) if project else None,
            default_personality=Ref(row.get("personalityId") or None, personality) if personality else None,
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
        return unix_s(self.created_at)


def unix_s(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())


def iso(ms: str | None) -> str | None:
    """Milliseconds since 1970 as ISO-8601 UTC; nothing for nothing."""
    if not ms:
        return None
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None
