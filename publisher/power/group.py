"""An exclusive group: several models on one GPU, of which one is awake at a time.

Those that are to wake take turns, in order of arrival. The one that is awake goes
on serving what it is asked until it has no work, or was waited for long enough;
so requests for several models are served model by model, with few swaps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from publisher.power.room import make_room

if TYPE_CHECKING:
    from publisher.power.power import Power


class Group:
    def __init__(self, name: str) -> None:
        self.name = name
        self._members: set[Power] = set()
        self._turn = asyncio.Lock()
        self._joined = asyncio.Event()  # somebody did

    def join(self, member: Power) -> None:
        self._members.add(member)
        self._joined.set()

    def leave(self, member: Power) -> None:
        self._members.discard(member)

    def replaced(self, member: Power) -> bool:
        """Whether it left, and another one means its model now."""
        return member not in self._members and any(one.model is member.model for one in self._members)

    @contextlib.asynccontextmanager
    async def alone(self, member: Power, patience_s: float, give_up_s: float) -> AsyncIterator[None]:
        """The others sleep, and none of them wakes meanwhile. The times count from the turn: see ``make_room``."""
        async with self._turn:
            await self._clear(member, patience_s, give_up_s)
            yield

    async def _clear(self, member: Power, patience_s: float, give_up_s: float) -> None:
        """Also of those that an edit of the config puts in the place of others meanwhile."""
        began = member.clock()
        rooms: dict[Power, asyncio.Task[None]] = {}
        try:
            while True:
                self._joined.clear()
                # At once: two that mean one model have work together, so neither would ever be idle alone.
                for one in self._members - rooms.keys():
                    if one.model is not member.model:
                        rooms[one] = asyncio.create_task(make_room(one, self, began, patience_s, give_up_s))
                for room in rooms.values():
                    if room.done():
                        room.result()  # or why there is none
                if all(room.done() for room in rooms.values()):
                    return
                await self._news_of(rooms.values())
        finally:
            for room in rooms.values():
                room.cancel()
            await asyncio.gather(*rooms.values(), return_exceptions=True)

    async def _news_of(self, rooms: Iterable[asyncio.Task[None]]) -> None:
        """Waits until one more of them is made, or somebody joined."""
        joined = asyncio.create_task(self._joined.wait())
        try:
            await asyncio.wait([joined, *(room for room in rooms if not room.done())], return_when=asyncio.FIRST_COMPLETED)
        finally:
            joined.cancel()
