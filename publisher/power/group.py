"""An exclusive group: several models on one GPU, of which one is awake at a time.

Waking one puts the others to sleep first. One with work is never disturbed: it is
waited for. The members' own rules (idle, minimum awake time) stay theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from publisher.failures import WakeFailed

if TYPE_CHECKING:
    from publisher.power.power import Power


class Group:
    def __init__(self, name: str) -> None:
        self.name = name
        self._members: set[Power] = set()
        self._turn = asyncio.Lock()

    def join(self, member: Power) -> None:
        self._members.add(member)

    def leave(self, member: Power) -> None:
        self._members.discard(member)

    @contextlib.asynccontextmanager
    async def alone(self, member: Power, within_s: float) -> AsyncIterator[None]:
        """The others sleep, and none of them wakes meanwhile. ``WakeFailed`` when they stay busy for too long."""
        awake: Power | None = None
        try:
            async with asyncio.timeout(within_s):
                await self._turn.acquire()
                try:
                    for awake in [one for one in self._members if one.model is not member.model]:
                        await awake.make_room()
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError:
            busy = f'"{awake.name}" is busy' if awake else "another one is waking"
            raise WakeFailed(f'group "{self.name}": {busy} and was so for {within_s:g} s; try again later') from None
        try:
            yield
        finally:
            self._turn.release()
