"""Clients that send one idempotent request to all replicas at once, and again until each answered: the answers must be one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import aiohttp

from tests.chaos.asking import ask
from tests.chaos.history import OK, Asked, History

_PATIENCE_S = 15.0


class Repeating:
    def __init__(self, http: aiohttp.ClientSession, urls: list[str], history: History):
        self._http = http
        self._urls = urls
        self._history = history

    async def run(self, one: Asked, *, streaming: bool) -> None:
        """``one`` is asked at every replica; each try is a request of the history's."""
        found = await asyncio.gather(*(self._until_answered(one, url, streaming) for url in self._urls))
        found += [await self._until_answered(one, one.url, streaming)]
        *first, (last, replayed) = [(heard, replayed) for heard, replayed in found if heard] or [([], True)]
        if any(heard != last for heard, _ in first):
            self._wrong(one, f"was answered differently: {found}")
        if first and not replayed:
            self._wrong(one, "was answered, and then anew")

    async def _until_answered(self, one: Asked, url: str, streaming: bool) -> tuple[list[str], bool]:
        """What was answered well, and whether as another's; [] if nothing was in time."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            try_ = replace(one, url=url, began_at=time.monotonic(), words=[], generations=set(), after_end=[])
            self._history.asked.append(try_)
            heard, head = await ask(self._http, try_, streaming=streaming, headers={"Idempotency-Key": one.marker})
            if try_.ended_how == OK:
                return heard, "Idempotency-Replayed" in head
            await asyncio.sleep(0.1)
        return [], False

    def _wrong(self, one: Asked, what: str) -> None:
        self._history.told.append(f"the idempotent request {one.marker} to {one.model} {what}")
