"""What a client means by a model, where it is not asked to answer: a row to show, or names that are near."""

from __future__ import annotations

import difflib

from aiohttp import web
from msgspec.structs import asdict

from broker.model import AGENT_PREFIX, LLM, Agent
from broker.pool import Pool
from broker.unknown import UnknownLLM, UnknownPool

from .context import STORE

#: Names that are compared with one that is not known, and the longest; comparing holds up the others.
_COMPARED, _LONGEST = 2000, 128


class NamedPool(Pool, kw_only=True):
    """A pool as one of the models that can be asked: with the status of its most awake member."""

    id: str
    status: str
    model: str
    kind: str = "pool"
    type: str = "pool"
    extra_config: dict = {}


Model = LLM | Agent | NamedPool


async def models(request: web.Request) -> list[Model]:
    """Everything that can be asked: LLMs by name, then pools by name that no LLM's name hides, then agents by name."""
    store = request.app[STORE]
    llms = await store.rows.llms()
    names = {llm.name for llm in llms}
    pools = [_named(pool, llms) for pool in await store.pool_rows.all() if pool.name not in names]
    return [*llms, *pools, *await store.agents.all()]


async def asked_for(request: web.Request, model: str, *others: str) -> Model:
    """The LLM of that id, name or alias, else the pool, else an LLM of that model, else the agent ``agent/<name>``; else the
    same for each of the ``others``. Raises UnknownLLM."""
    store = request.app[STORE]
    unknown: UnknownLLM | None = None
    for name in (model, *others):
        try:
            return await store.rows.llm_asked_for(name)
        except UnknownLLM as refusal:
            unknown = unknown or refusal
        try:
            return _named(await store.pool_rows.pool(name), await store.rows.llms())
        except UnknownPool:
            llm = await store.rows.behind_model(name)
        if llm:
            return llm
        if name.startswith(AGENT_PREFIX):
            for agent in await store.agents.named([name.removeprefix(AGENT_PREFIX)]):
                return agent
    raise await with_near_names(request, model, unknown)


async def with_near_names(request: web.Request, name: str, unknown: UnknownLLM) -> UnknownLLM:
    """The refusal with the names that could be meant."""
    if len(name) > _LONGEST:
        return unknown
    names: set[str] = set()
    for row in await models(request):
        names.add(model_id(row))
        if isinstance(row, LLM):
            names.update((row.model, *row.aliases))
    near = difflib.get_close_matches(name, sorted(names)[:_COMPARED], n=5)
    if not near:
        return unknown
    return UnknownLLM(f"{unknown.message} Near that name: {', '.join(map(repr, near))}.", param=unknown.param)


def model_id(row: Model) -> str:
    """What a client asks for when it means that row."""
    return row.proxy_model_name if isinstance(row, Agent) else row.name


def _named(pool: Pool, llms: list[LLM]) -> NamedPool:
    return NamedPool(**asdict(pool), id=f"pool/{pool.name}", status=pool.status_among(llms), model=pool.name)
