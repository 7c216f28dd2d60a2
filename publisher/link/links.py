"""All brokers of this publisher together: what is said to every one of them.

Usually there is one. A row sleeps only when all agree; what one was not told
because it was away, it hears at the next look.
"""

from __future__ import annotations

import asyncio

from publisher.link.link import Link
from publisher.published.endpoint import ACTIVE, DRAINING, HIBERNATING, Endpoint


class Links:
    def __init__(self) -> None:
        self._links: list[Link] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._told_now: set[str] = set()
        self._stopped = False

    def __iter__(self):
        return iter(list(self._links))

    def add(self, link: Link) -> None:
        self._links.append(link)

    def remove(self, link: Link) -> None:
        self._links.remove(link)

    def beat(self) -> None:
        for link in self:
            link.beat()

    def changed(self) -> None:
        for link in self:
            link.changed()

    async def agree(self, endpoint: Endpoint) -> bool:
        """Tells that it sleeps; False when a broker has work for it, and then nobody believes that it sleeps."""
        answers = await asyncio.gather(*(link.tell(endpoint, HIBERNATING) for link in self))
        if all(answers):
            return True
        await asyncio.gather(*(link.tell(endpoint, endpoint.status_awake) for link in self))
        return False

    async def drain(self, endpoint: Endpoint) -> bool:
        """Tells that it takes no new work; False when a broker does not know that word, and then it takes work from all."""
        answers = await asyncio.gather(*(link.tell(endpoint, DRAINING) for link in self))
        if all(answers):
            return True
        await asyncio.gather(*(link.tell(endpoint, ACTIVE) for link in self))
        return False

    def announce(self, endpoint: Endpoint) -> None:
        """Sees to it that every broker has the endpoint's own word, unless it is just changing."""
        if self._stopped or endpoint.power.moving or endpoint.name in self._told_now:
            return
        if all(link.knows(endpoint) for link in self):
            return
        self._told_now.add(endpoint.name)
        task = asyncio.create_task(self._tell(endpoint), name=f"tell of {endpoint.name}")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def stop(self) -> None:
        self._stopped = True
        for task in list(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _tell(self, endpoint: Endpoint) -> None:
        try:
            status = endpoint.status
            await asyncio.gather(*(link.tell(endpoint, status) for link in self if not link.knows(endpoint)))
        finally:
            self._told_now.discard(endpoint.name)
        if endpoint.status != status:  # it moved meanwhile
            self.announce(endpoint)
