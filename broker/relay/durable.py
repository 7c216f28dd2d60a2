"""Durable tasks at one replica: what it does for them all the time, and how it hears of them.

Any replica does all of this, and none has to: what one leaves undone another finds.
"""

from __future__ import annotations

import asyncio

from broker.duty import every
from broker.store import Store

from .claimer import Agents, Claimer
from .exchange import Patience
from .job_events import JobEvents
from .job_watch import JobWatch
from .post import Post
from .relay import Relay
from .webhooks import Webhooks


class Durable:
    """``poll_s``: how often it looks when it heard of nothing. ``patience``: of an attempt."""

    def __init__(
        self, store: Store, relay: Relay, post: Post, agents: Agents, webhooks: Webhooks, patience: Patience, *, poll_s: float
    ):
        self._store = store
        self._poll_s = poll_s
        self._webhooks = webhooks
        self._claimer = Claimer(store, relay, post, agents, patience, poll_s=poll_s)
        self.watch = JobWatch(store.jobs, poll_s=poll_s)
        self.events = JobEvents(self.watch, relay, store.kept, buffer_bytes=patience.buffer_bytes)
        relay.heard_end = self._heard_end

    def made(self) -> None:
        """A job was made, or queued again, here."""
        self._claimer.nudge()

    def cancelled(self) -> None:
        """A job was cancelled here."""
        self._heard_end()

    def stop(self) -> None:
        """This replica goes away: it begins nothing more."""
        self._claimer.stop()

    def give_up(self) -> None:
        """It is gone in a moment: who waits for a job here goes on at another."""
        self.watch.stop()

    async def run(self) -> None:
        """All duties, for ever; across outages of Redis."""
        duties = [self._claimer.run(), every(self._poll_s, self._look_after), every(self._poll_s, self._webhooks.send_due)]
        try:
            await asyncio.gather(*duties)
        finally:
            await self._webhooks.close()
            await self.watch.close()

    async def _look_after(self) -> None:
        while await self._store.claims.due():
            pass

    def _heard_end(self) -> None:
        self._claimer.heard_end()
        self.watch.nudge()
