"""Agent rows: reading them as they are now; making and editing public ones, deleting any; who answers for one.

Virtual agents are written by their publishers' sessions. Each decision is one script.
"""

from __future__ import annotations

import uuid

import msgspec

from broker.errors import AgentLLMMissing, AgentOffline, Conflict, PublisherOffline
from broker.model import AGENT_PREFIX, Agent, Persona
from broker.unknown import UnknownAgent, UnknownLLM, UnknownPersonality, UnknownProject

from .rows import Rows
from .scripts import Scripts


class Agents:
    def __init__(self, rows: Rows, scripts: Scripts, *, stale_ms: int, expire_ms: int):
        self._rows = rows
        self._scripts = scripts
        self._ages = (stale_ms, expire_ms)

    async def all(self) -> list[Agent]:
        """Every agent that is there, by name."""
        return [Agent.read(row) for row in await self._rows.all("agent")]

    async def named(self, names: list[str]) -> list[Agent]:
        return [Agent.read(row) for row in await self._rows.read("agent", [name.encode() for name in names])]

    async def agent(self, key: str) -> Agent:
        """The agent of that id, else of that name. Raises UnknownAgent."""
        row = await self._rows.one("agent", key)
        if row is None:
            raise _unknown(key)
        return Agent.read(row)

    async def create(self, name: str, fields: dict[str, str], *, owner: str) -> Agent:
        """A new public agent; ``fields`` as they are stored, ``llm``, ``project`` and ``personality`` an id, a name or empty.
        Raises Conflict, UnknownLLM, UnknownProject, UnknownPersonality."""
        verdict, *rest = await self._scripts.run(
            "agent_create", name, str(uuid.uuid4()), owner, msgspec.json.encode(fields), *self._ages
        )
        if verdict == b"public":
            raise Conflict(f"There is a public agent {name!r} already; edit it with PATCH.", param="name")
        if verdict == b"virtual":
            raise Conflict(
                f"{name!r} is the name of a virtual agent, which a publisher holds ({rest[0].decode()}); "
                "choose another, or delete that one first.", param="name",
            )
        self._refuse_missing(verdict, name, fields)
        return await self.agent(name)

    async def edit(self, key: str, fields: dict[str, str], *, version: int | None, owner: str | None) -> Agent:
        """Changes these fields of a public agent. ``version`` None: whichever it is at; ``owner`` None: an admin's
        call. Raises UnknownAgent, Conflict, UnknownLLM, UnknownProject, UnknownPersonality."""
        agent = await self.agent(key)
        guard = "" if version is None else version
        verdict, *rest = await self._scripts.run(
            "agent_edit", agent.name, agent.id, owner or "", guard, msgspec.json.encode(fields), *self._ages
        )
        if verdict == b"unknown":
            raise UnknownAgent(f"There is no agent {key!r} of yours.")
        if verdict == b"virtual":
            raise Conflict(f"{agent.name!r} is a virtual agent: its publisher owns it; edit the publisher's config file.")
        if verdict == b"version":
            raise Conflict(
                f"{agent.name!r} was edited meanwhile: it is at version {rest[0].decode()}, not {version}; "
                "read it again and edit that.", param="version",
            )
        self._refuse_missing(verdict, agent.name, fields)
        return await self.agent(agent.id)

    async def delete(self, agent: Agent, *, owner: str | None) -> None:
        """Deletes a row that was read. ``owner`` None: an admin's call. Raises UnknownAgent."""
        if (await self._scripts.run("agent_delete", agent.name, agent.id, owner or ""))[0] == b"unknown":
            raise UnknownAgent(f"There is no agent {agent.name!r} of yours.")

    async def persona(self, asked: str) -> Persona | None:
        """Whom a client means by the model ``asked``; None: no agent, for it is no ``agent/<name>``, or an LLM, an
        alias, a pool or a model of just that name comes first. Raises UnknownLLM, AgentOffline, AgentLLMMissing."""
        if not asked.startswith(AGENT_PREFIX):
            return None
        name = asked.removeprefix(AGENT_PREFIX)
        verdict, *rest = await self._scripts.run("agent_asked", asked, name, *self._ages)
        if verdict == b"llm":
            return None
        return read_persona(name, verdict, rest)

    @staticmethod
    def _refuse_missing(verdict: bytes, name: str, fields: dict[str, str]) -> None:
        if verdict == b"no_llm":
            raise UnknownLLM(f"agent {name!r} is to be pinned to the LLM {fields['llm']!r}, which does not exist.", param="llm")
        if verdict == b"no_project":
            raise UnknownProject(f"There is no project {fields['project']!r}; GET /api/v1/projects lists those that there are.", param="project")
        if verdict == b"no_personality":
            raise UnknownPersonality(
                f"There is no personality {fields['personality']!r}; GET /api/v1/personalities lists those that there are.",
                param="defaultPersonality",
            )


def read_persona(agent: str, verdict: bytes, rest: list[bytes]) -> Persona:
    """The answer of ``persona_of`` (``lua/shared/personas.lua``) about that agent. Raises UnknownLLM, AgentOffline,
    AgentLLMMissing, PublisherOffline, UnknownPersonality."""
    if verdict == b"unknown":
        raise UnknownLLM(f"There is no agent {agent!r}; GET /v1/models lists those that there are.")
    if verdict == b"offline":
        raise AgentOffline(f"agent offline: the publisher of the agent {agent!r} is away; try again when it is back")
    if verdict == b"no_llm":
        raise AgentLLMMissing(f"The agent {agent!r} is pinned to the LLM {rest[0].decode()!r}, which is gone.")
    if verdict == b"no_model":
        raise PublisherOffline(f"No LLM with the model {rest[0].decode()!r}, which the agent {agent!r} asks for, is there right now.")
    if verdict == b"no_personality":
        raise UnknownPersonality(
            f"There is no personality {rest[0].decode()!r}; GET /api/v1/personalities lists those that there are.", param="personality"
        )
    llm, own, personality, servers, extras, project, model, *prompts = rest
    texts = tuple(prompt.decode() for prompt in prompts)
    return Persona(agent, llm.decode(), texts, (own, personality), servers, extras, project.decode(), model.decode())


def _unknown(key: str) -> UnknownAgent:
    return UnknownAgent(f"There is no agent {key!r}; GET /api/v1/agents lists those that there are.")
