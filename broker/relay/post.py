"""This replica's post: what its one blocking read brings, handed to whom it is for.

Frames go to channels, parts to exchanges. Nothing in here waits for anybody,
and a letter to somebody who left is thrown away: its task has been cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from broker.errors import StoreUnavailable
from broker.store import Store

from .channel import Channel
from .exchange import Exchange
from .parts import failure

log = logging.getLogger(__name__)


class Post:
    def __init__(self, store: Store):
        self._store = store
        self.channels: dict[bytes, Channel] = {}
        self.exchanges: dict[bytes, Exchange] = {}
        self._errands: set[asyncio.Task] = set()
        self._missing: set[bytes] = set()

    def errand(self, coroutine: Coroutine) -> None:
        """Something that must still be done after whoever asked for it has left."""
        task = asyncio.create_task(coroutine)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def finish(self, within_s: float) -> None:
        """Waits for the errands under way."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=within_s)

    async def run(self) -> None:
        """Reads and hands out, for ever; across outages of Redis."""
        replica = self._store.replica
        trimmed_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                inbox, reply = await replica.read()
                self.hand_out(inbox, reply)
                if loop.time() - trimmed_at > 0.25 or not (inbox or reply):
                    trimmed_at = loop.time()
                    await replica.trim()
            except StoreUnavailable:
                await asyncio.sleep(0.2)
            except Exception:
                # Whatever it was, a replica that stops reading its post would answer nobody any more.
                log.exception("bug", extra={"duty": "post"})
                await asyncio.sleep(1)

    def hand_out(self, inbox: list[list[bytes]], reply: list[list[bytes]]) -> None:
        for fields in inbox:
            entry = dict(zip(fields[::2], fields[1::2], strict=True))
            if b"f" in entry:
                self.deliver(entry[b"c"], entry[b"f"])
            elif channel := self.channels.get(entry.get(b"c", b"")):
                channel.end(entry[b"x"].decode())
        exchanges = self.exchanges
        for fields in reply:
            for task, parts in zip(fields[::2], fields[1::2], strict=True):
                exchange = exchanges.get(task)
                if exchange is not None:
                    exchange.put(parts)

    def deliver(self, channel: bytes, frame: bytes) -> None:
        """A frame for a channel; one that has closed meanwhile gets it again when its session comes back."""
        if open_channel := self.channels.get(channel):
            open_channel.put(frame)

    async def look_for_lost(self, older_than_s: float) -> None:
        """Ends the exchanges whose task Redis lost (a failover, an old copy). Missing twice in a row,
        for the end of one may be on its way."""
        before = asyncio.get_running_loop().time() - older_than_s
        tasks = [task for task, one in self.exchanges.items() if one.started_at < before and not one.ended]
        missing: set[bytes] = set()
        for start in range(0, len(tasks), 1000):
            missing |= await self._store.replica.lost(tasks[start : start + 1000])
        for task in missing & self._missing:
            if exchange := self.exchanges.get(task):
                exchange.give_up(failure(503, "broker_restarted", "the broker's Redis lost this request; send it again"))
        self._missing = missing

    def void(self) -> None:
        """The others took this replica for dead: its channels are not the sessions' any more, and its
        requests were cancelled."""
        for channel in self.channels.values():
            channel.close("broker")
        refusal = failure(503, "broker_restarted", "the broker lost touch with its Redis for too long; send it again")
        for exchange in self.exchanges.values():
            exchange.give_up(refusal)
