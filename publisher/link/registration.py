"""Registers at the broker what the roster holds, and keeps the registration alive.

The first registration decides whether the program runs at all; later ones follow
when the broker no longer knows the session, or when rows came or went. Whoever
notices either asks here, and one registration answers them all. It never touches
running tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from broker.wire import TOOLS, Registered, Registration
from publisher.link.backoff import Backoff
from publisher.link.beside import Beside
from publisher.link.client import Broker, Refused, Unavailable
from publisher.link.session import SessionFile
from publisher.link.trouble import Trouble
from publisher.published.endpoint import ACTIVE, DRAINING
from publisher.published.roster import Roster

SHORTEST_HEARTBEAT_S = 0.01
UNSURE = ""  # the broker may have heard a row's status, or not

log = logging.getLogger("publisher")


class Registrar:
    def __init__(
        self,
        broker: Broker,
        roster: Roster,
        beside: Beside,
        session_file: SessionFile,
        registered: Callable[[], None],
        backoff: Backoff,
        slow_retry_s: float,
    ) -> None:
        self.beside = beside
        self.told: dict[str, str] = {}  # the status of each row and tool server, as the broker heard it last
        self.registered_again: Callable[[], None] = lambda: None
        self.broker_answers: Callable[[], None] = lambda: None
        self.session_lost: Callable[[], None] = lambda: None
        self.silent = False  # after goodbye a heartbeat would bring the rows back
        self.state = "connecting"
        self.since = time.monotonic()
        self.trouble = Trouble()
        self._broker = broker
        self._roster = roster
        self._file = session_file
        self._registered = registered
        self._backoff = backoff
        self._slow_retry_s = slow_retry_s
        self._heartbeat_s = 30.0
        self._beat = asyncio.Event()
        self._again: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._stale = False  # the roster changed since what the broker has was read from it
        self._turn = asyncio.Lock()  # of a row's status, two calls at once would leave the wrong word last

    async def first(self) -> None:
        """Raises ``Refused`` when the broker says no; waits as long as it, or any row, is not there."""
        self._broker.session = self._file.load()
        await self._filled()
        self._enter("registering")
        while True:
            if self.silent:  # the end came first: there is nothing more to do than to wait for it
                await asyncio.get_running_loop().create_future()
            try:
                self._noted(await self._register())
                return self.changed() if self._stale else None
            except Unavailable as err:
                wait_s = self._backoff.next_s()
                self.trouble = Trouble.now(err)
                log.warning("broker %s: %s; next try in %.1f s", self._broker.url, err, wait_s)
                await asyncio.sleep(wait_s)
            except Refused as err:
                self.trouble = Trouble.now(err)
                raise

    async def again(self) -> None:
        """The broker does not know the session any more."""
        if self._again is None:
            self._enter("registering")
            self.told = {}
            self.session_lost()
            log.warning("the broker no longer knows this session, registering again")
            self._begin(self._until_registered(self.registered_again))
        await asyncio.shield(self._again)

    def changed(self) -> None:
        """The roster is not what the broker has; it hears of it as soon as it can."""
        self._stale = True
        self._hurry.set()
        if self.state == "registered" and self._again is None and not self.silent:
            self._begin(self._until_registered(lambda: None))

    def beat_soon(self) -> None:
        self._beat.set()

    def woken(self, name: str) -> None:
        """The broker hears of it by the task that woke it."""
        self.told[name] = ACTIVE

    async def tell(self, name: str, status: str) -> bool:
        """False when the broker has work for it, and so does not agree, or does not know that word. One that is away
        hears it later."""
        async with self._turn:
            if self.silent or self.told.get(name) == status:  # while this waited, somebody else said the same
                return True
            try:
                await self._broker.status(name, status)
            except Refused as err:
                if err.status == 409 or (err.status == 422 and status == DRAINING):
                    return False
                log.warning('"%s" could not be reported %s: %s', name, status, err)
            except Unavailable as err:
                self.told[name] = UNSURE
                log.warning('"%s" could not be reported %s: %s', name, status, err)
            except asyncio.CancelledError:
                if name in self.told:
                    self.told[name] = UNSURE
                raise
            else:
                self.told[name] = status
                log.debug('"%s" is told as %s', name, status)
            return True

    async def run_heartbeat(self) -> None:
        while not self.silent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._beat.wait()
            self._beat.clear()
            if not self.silent and self.told:
                await self._heartbeat()

    async def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait([self._again])

    async def goodbye(self, patience_s: float) -> None:
        """The last word: nothing of ours may bring the rows back. Raises ``Refused`` or ``Unavailable``."""
        self.silent = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s), self._turn:
                pass  # what is under way would arrive after it
        if self.told:
            await self._broker.goodbye()

    async def _heartbeat(self) -> None:
        try:
            async with self._turn:
                if not self.silent:
                    await self._broker.heartbeat()
                    self.broker_answers()
        except Refused as err:
            if err.status == 404:
                return await self.again()
            self.trouble = Trouble.now(err)
            log.error("heartbeat refused: %s", err)
        except Unavailable as err:
            self.trouble = Trouble.now(err)
            log.warning("heartbeat: %s", err)

    def _begin(self, work) -> None:
        self._again = asyncio.create_task(work, name="register again")

    async def _until_registered(self, then: Callable[[], None]) -> None:
        self._backoff.reset()
        try:
            while not self.silent:
                try:
                    if not self.told:
                        await self._filled()
                    self._noted(await self._register())
                    if not self._stale:
                        return then()
                except Unavailable as err:
                    self.trouble = Trouble.now(err)
                    log.warning("broker %s: %s", self._broker.url, err)
                    await self._pause(self._backoff.next_s())
                except Refused as err:
                    self.trouble = Trouble.now(err)
                    log.error("registration refused: %s; trying again every %g s", err, self._slow_retry_s)
                    await self._pause(self._slow_retry_s)
        finally:
            self._again = None

    async def _filled(self) -> None:
        """Waits until there is anything to publish."""
        while not (self.beside.tools or len(self._roster)):
            self._hurry.clear()
            await self._hurry.wait()

    async def _pause(self, seconds: float) -> None:
        """Shorter when there is something new to say: that may be what mends it."""
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _register(self) -> Registered:
        async with self._turn:
            try:
                return await self._said()
            except Refused as err:
                if err.code != "unknown_session" or self._broker.session is None:
                    raise
                log.warning("session %s belongs to someone else, starting a new one", self._broker.session)
                self._file.forget()
                self._broker.forget_session()
                return await self._said()

    async def _said(self) -> Registered:
        self._stale = False
        # A row that the broker knows keeps the status that was agreed on: what changed since is told as such.
        rows = {endpoint.name: self.told.get(endpoint.name) or endpoint.status for endpoint in self._roster}
        registration = Registration(
            provider_session_id=self._broker.session,
            replace=True,
            accepts=True,
            providers=[
                e.provider.entry(rows[e.name], e.slots.limit, e.backend.operations) for e in self._roster if e.name in rows
            ],
            agents=list(self.beside.agents if rows or not self.beside.llms_come else ()),
            tool_servers=list(self.beside.tools),
        )
        registered = await self._broker.register(registration)
        self.told = rows | {TOOLS + tool.name: ACTIVE for tool in registration.tool_servers}
        return registered

    def _noted(self, registered: Registered) -> None:
        self._backoff.reset()
        self._enter("registered")
        self._heartbeat_s = max(registered.heartbeat_seconds, SHORTEST_HEARTBEAT_S)
        self._file.save(registered.provider_session_id)
        log.info("registered at %s as session %s", self._broker.url, registered.provider_session_id)
        self._registered()  # what woke or fell asleep while the answer was on its way

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.since = time.monotonic()
