"""Looks for LLM servers: every address at once, each known by its fingerprint.

A server whose list of models fails is a server all the same. It never asks for
a generation, so that nothing is loaded by being looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from publisher.failures import TaskFailed
from publisher.find.addresses import Target, root_of, targets
from publisher.find.fingerprints import Mark, mark_of
from publisher.find.found import Found, Sight
from publisher.find.probe import Probe

LIST_S = 3.0  # for the models of a server that is known by now


async def detect(
    hosts: Iterable[str] | None = None, ports: Iterable[int] | None = None, timeout_s: float = 1.0
) -> list[Found]:
    return (await look(hosts, ports, timeout_s)).found


async def look(
    hosts: Iterable[str] | None = None, ports: Iterable[int] | None = None, timeout_s: float = 1.0
) -> Sight:
    sight = Sight()
    async with _session() as http:
        places = await asyncio.gather(*(_place(http, target, timeout_s) for target in targets(hosts, ports)))
    seen: set[str] = set()
    for probe, mark, found in places:
        if probe.root in seen:  # two ways of saying the same place
            continue
        seen.add(probe.root)
        if found:
            sight.found.append(found)
        elif mark:
            sight.brokers.append(probe.root)
        elif probe.silences:
            sight.silent.append(probe.root)
    return sight


async def look_at(url: str, api_key: str | None = None, timeout_s: float = LIST_S) -> Found | None:
    """The server at one written address; ``None`` when there is none that is known."""
    async with _session() as http:
        _, _, found = await _place(http, (root_of(url),), timeout_s, api_key)
    return found


def _session() -> aiohttp.ClientSession:
    # Every call has a limit of its own; nothing is kept for another call that may never come.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))


async def _place(
    http: aiohttp.ClientSession, target: Target, timeout_s: float, api_key: str | None = None
) -> tuple[Probe, Mark | None, Found | None]:
    for root in target:
        probe = Probe(http, root, timeout_s, api_key)
        mark = await mark_of(probe)
        if mark and probe.forget_silences():  # it is there, and what it did not say in time tells what it is
            mark = await mark_of(probe) or mark
        if not probe.refused:
            break
    found = await _found(http, probe.root, mark, api_key) if mark and mark.type else None
    return probe, mark, found


async def _found(http: aiohttp.ClientSession, root: str, mark: Mark, api_key: str | None) -> Found:
    from publisher.backends.types import backend_of

    url = f"{root}/v1" if mark.type == "openai" else root
    models: tuple[str, ...] = ()
    slots = None
    note = mark.note
    if not mark.needs_key:
        backend = backend_of(mark.type, http, url, api_key, LIST_S)
        try:
            models = tuple(dict.fromkeys(await backend.models()))
            slots = await backend.slots(models[0]) if models else None
        except TaskFailed as err:
            note = note or f"answers, but its list of models fails: {err}"
    return Found(mark.type, mark.server, url, models, mark.needs_key, note, slots, mark.native)
