"""An exclusive group: several models on one GPU, of which one is awake at a time.

Those that are to wake take turns, in order of arrival. The one that is awake goes
on serving what it is asked until it has no work, or was waited for long enough;
so requests for several models are served model by model, with few swaps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from publisher.power.room import make_room

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
    async def alone(self, member: Power, patience_s: float, give_up_s: float) -> AsyncIterator[None]:
        """The others sleep, and none of them wakes meanwhile. The times count from the turn: see ``make_room``."""
        async with self._turn:
            await self._clear(member, patience_s, give_up_s)
            yield

    async def _clear(self, member: Power, patience_s: float, give_up_s: float) -> None:
        others = [one for one in self._members if one.model is not member.model]
        # At once: two that mean one model have work together, so neither would ever be idle alone.
        rooms = [asyncio.create_task(make_room(one, self.name, patience_s, give_up_s)) for one in others]
        try:
            await asyncio.gather(*rooms)
        finally:
            for room in rooms:
                room.cancel()
            await asyncio.gather(*rooms, return_exceptions=True)
