"""Which models the servers have, for providers that publish by pattern.

Each such server is asked every few seconds. One that is away, or has no usable
list just now, keeps the models that it had: asleep is not gone. A model that is
missing is believed gone at the second look.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable

from publisher.backends.seam import Backend
from publisher.config.values import Provider
from publisher.failures import TaskFailed
from publisher.published.patterns import expand

FAR = ("anthropic",)  # usually somebody else's server, whose list seldom changes
RARELY = 20

log = logging.getLogger("publisher")


class Catalog:
    def __init__(
        self,
        backend: Callable[[Provider], Backend],
        publish: Callable[[list[Provider]], Awaitable[None]],
        every_s: float,
    ) -> None:
        self._backend = backend
        self._publish = publish
        self._every_s = every_s
        self._providers: tuple[Provider, ...] = ()
        self._lists: dict[int, _List] = {}
        self._turn = asyncio.Lock()

    async def set(self, providers: Iterable[Provider]) -> None:
        """From now on these, patterns included."""
        async with self._turn:
            self._providers = tuple(providers)
            before, self._lists = self._lists, {}
            for number, provider in enumerate(self._providers):
                if provider.patterns:
                    self._lists[number] = _List(self._backend(provider), provider)
            for one in self._lists.values():
                one.inherit(before.values())
            await self._look()
            await self._publish(self._expanded())

    async def run(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(self._every_s)
            async with self._turn:
                if await self._look(number):
                    await self._publish(self._expanded())

    async def _look(self, number: int = 0) -> bool:
        looks = [one.look() for one in self._lists.values() if number % one.every == 0]
        return any(await asyncio.gather(*looks))

    def _expanded(self) -> list[Provider]:
        found: list[Provider] = []
        for number, provider in enumerate(self._providers):
            one = self._lists.get(number)
            found += expand(provider, one.models) if one else [provider]
        return found


class _List:
    """The models of one server, as last believed."""

    def __init__(self, backend: Backend, provider: Provider) -> None:
        self.models: tuple[str, ...] = ()
        self.every = RARELY if provider.type in FAR else 1
        self._backend = backend
        self._provider = provider
        self._missing: set[str] = set()
        self._away = False

    def inherit(self, lists: Iterable[_List]) -> None:
        """A reload does not forget what a server that is away just now had."""
        for other in lists:
            mine, its = self._provider, other._provider
            if (mine.type, mine.url, mine.api_key) == (its.type, its.url, its.api_key):
                self.models = other.models

    async def look(self) -> bool:
        """Whether the models changed."""
        try:
            listed = tuple(dict.fromkeys(await self._backend.models()))
        except TaskFailed as err:
            self._say_away(str(err))
            return False
        except Exception as err:
            self._say_away(repr(err))
            return False
        self._away = False
        believed = set(listed)
        gone = set(self.models) - believed
        doubted, self._missing = gone - self._missing, gone
        models = listed + tuple(model for model in self.models if model in doubted)
        changed = set(models) != set(self.models)
        self.models = models
        return changed

    def _say_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            kept = f"the {len(self.models)} models that it had stay published" if self.models else "it is asked again"
            log.warning("%s has no list of models now (%s): %s", self._backend.url, why, kept)
