"""Checks the LLM servers: do they answer, do they have the models, and how many requests they run.

Each server is asked once, whatever number of providers it has. It is never woken
and never made to generate.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp

from publisher.backends.seam import Backend
from publisher.backends.types import backend_of
from publisher.check.finding import About, Finding
from publisher.check.misfit import what_native_needs, what_to_write_instead
from publisher.config.values import ConfigError, Provider
from publisher.failures import BackendBroken, BackendUnreachable
from publisher.published.patterns import expand

LIMIT_S = 5.0
SHOWN = 6
#: These answer, or pass on, also for names that they do not list.
LENIENT = ("openai", "llamacpp", "anthropic")


@dataclass(frozen=True, slots=True)
class Sight:
    """One provider and what its server says. ``models`` is ``None`` when it has no usable list."""

    provider: Provider
    available: bool = False
    models: list[str] | None = None
    trouble: str = ""
    unreachable: bool = False
    slots: int | None = None
    instead: str = ""  # what to write, when another server than was said is there
    native_needs: str = ""  # when it could not follow its native recipe


async def sights(providers: Iterable[Provider], limit_s: float = LIMIT_S) -> list[Sight]:
    lists: dict[tuple, asyncio.Task[list[str]]] = {}
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=limit_s)
    ) as http:

        async def look(provider: Provider) -> Sight:
            try:
                backend = backend_of(provider.type, http, provider.url, provider.api_key, limit_s)
            except ConfigError as err:
                return Sight(provider, trouble=str(err))
            server = (provider.type, provider.url, provider.api_key)
            if server not in lists:
                lists[server] = asyncio.create_task(backend.models())
            return await _seen(provider, backend, lists[server], limit_s)

        try:
            return await asyncio.gather(*(look(provider) for provider in providers))
        finally:
            await asyncio.gather(*lists.values(), return_exceptions=True)


async def _seen(provider: Provider, backend: Backend, models: asyncio.Task[list[str]], limit_s: float) -> Sight:
    try:
        found = await models
    except BackendUnreachable as err:
        return Sight(provider, trouble=str(err), unreachable=True)
    except BackendBroken as err:
        return Sight(provider, trouble=str(err), instead=await what_to_write_instead(provider, limit_s))
    if provider.patterns:
        return Sight(provider, True, found)
    resident = provider.wake is not None and provider.wake.native
    available, slots = await asyncio.gather(backend.available(provider.model, resident), backend.slots(provider.model))
    lost = not available and provider.wake is None
    return Sight(
        provider, available, found, slots=slots,
        instead=await what_to_write_instead(provider, limit_s) if lost else "",
        native_needs=await what_native_needs(provider, limit_s) if resident else "",
    )


def check_backend(sight: Sight) -> list[Finding]:
    provider = sight.provider
    about = About(f'backend of "{provider.name}"')
    if sight.unreachable:
        return [_away(provider, sight.trouble, about)]
    if sight.models is None:
        remedy = "look at the server's own log; its address, type and apiKey in the config must fit it"
        return [about.warning(sight.trouble, sight.instead or remedy)]
    if provider.patterns:
        return [_matched(provider, sight.models, about)]
    return [_listed(provider, sight.models, about), *_awake(sight, about), *_slots(provider, sight.slots, about)]


def _away(provider: Provider, trouble: str, about: About) -> Finding:
    if provider.wake is not None:
        return about.ok(f"asleep, its wake recipe is there: {trouble}")
    return about.error(trouble, "start the server, correct its url, or give it a wake recipe")


def _matched(provider: Provider, models: list[str], about: About) -> Finding:
    taken = [one.model for one in expand(provider, models)]
    if taken:
        return about.ok(f"its patterns take {len(taken)} of {len(models)} models: {_some(taken)}")
    if not models:
        return about.warning("the server has no models yet", "load or download one there")
    return about.warning(f"its patterns take none of the {len(models)} models", f"the server has: {_some(models)}")


def _listed(provider: Provider, models: list[str], about: About) -> Finding:
    model = provider.model
    same = {model, f"{model}:latest"} if provider.type == "ollama" and ":" not in model else {model}
    if same & set(models):
        return about.ok(f"the server has {model}")
    near = difflib.get_close_matches(model, models, n=3, cutoff=0.5)
    near = near or [one for one in models if model.lower() in one.lower()]
    if near:
        remedy = f"did you mean {' or '.join(near[:3])}?"
    elif models:
        remedy = f"it has: {_some(models)}"
    else:
        remedy = "load or download it there"
    what = f"the server does not list {model}"
    return about.warning(what, remedy) if provider.type in LENIENT else about.error(what, remedy)


def _awake(sight: Sight, about: About) -> list[Finding]:
    if sight.native_needs:
        return [about.error("the server cannot load and unload models by itself, as its native recipe wants", sight.native_needs)]
    if sight.available:
        return [about.ok("it answers")]
    if sight.provider.wake is not None:
        return [about.ok("asleep; a request will wake it")]
    remedy = sight.instead or "does it still load, or sleep? see its log"
    return [about.warning("the server is there, but would not answer now", remedy)]


def _slots(provider: Provider, told: int | None, about: About) -> list[Finding]:
    written = provider.slots
    if told is None:
        return [] if written else [about.ok("one request at a time: the server does not tell its slots, and none are set")]
    if written and written > told:
        what = f"slots is {written}, but the server runs {told} at once"
        return [about.warning(what, f'the rest would wait in it, out of sight: "slots": {told}')]
    whose = f"of {told} that the server runs" if written else "as the server tells"
    return [about.ok(f"{written or told} at once, {whose}")]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
