"""What a client means by a model, where it is not asked to answer: a row to show."""

from __future__ import annotations

from aiohttp import web

from broker.errors import UnknownLLM
from broker.model import AGENT_PREFIX, LLM, Agent

from .context import STORE


async def models(request: web.Request) -> list[LLM | Agent]:
    """Everything that can be asked: LLMs by name, then agents by name."""
    store = request.app[STORE]
    return [*await store.rows.llms(), *await store.agents.all()]


async def asked_for(request: web.Request, model: str, *others: str) -> LLM | Agent:
    """The LLM of that id, name or alias, else the agent ``agent/<name>``; else the same for each of the ``others``.
    Raises UnknownLLM."""
    store = request.app[STORE]
    unknown: UnknownLLM | None = None
    for name in (model, *others):
        try:
            return await store.rows.llm_asked_for(name)
        except UnknownLLM as refusal:
            unknown = unknown or refusal
        if name.startswith(AGENT_PREFIX):
            for agent in await store.agents.named([name.removeprefix(AGENT_PREFIX)]):
                return agent
    raise unknown


def model_id(row: LLM | Agent) -> str:
    """What a client asks for when it means that row."""
    return row.proxy_model_name if isinstance(row, Agent) else row.name
