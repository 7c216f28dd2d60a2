"""The channel: the one connection on which the broker speaks to this publisher.

Keeps it open for ever: reads frames, notices silence, reconnects. It never
touches a task: those run on while the channel is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from broker.dialects.sse import EventReader, EventTooLarge, payloads
from broker.wire import Frame
from publisher.link.backoff import Backoff
from publisher.link.client import Broker, Refused, Unavailable
from publisher.link.trouble import Trouble
from publisher.failures import TOO_DEEP

log = logging.getLogger("publisher")

FRAME_BYTES = 16 << 20
STEADY_S = 5.0  # a channel that lived this long was fine: reconnect without delay

# Only before anything nested: a client's request may hold the same words.
TASK_ID = re.compile(rb'\{[^{}\[\]]*?"taskId"\s*:\s*"([!#-\[\]-~]+)"')

_decode = msgspec.json.Decoder(Frame).decode


class Superseded(Exception):
    """Another process opened a channel with this session."""


class Channel:
    def __init__(
        self,
        broker: Broker,
        take: Callable[[Frame], None],
        refuse: Callable[[str, str, str], None],
        session_unknown: Callable[[], Awaitable[None]],
        backoff: Backoff,
        silence_s: float,
        slow_retry_s: float,
        working_retry_s: float,
        working: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._take = take
        self._refuse = refuse
        self._session_unknown = session_unknown
        self._backoff = backoff
        self._silence_s = silence_s
        self._slow_retry_s = slow_retry_s
        self._working_retry_s = working_retry_s
        self._working = working
        self.since = time.monotonic()  # open, or not
        self.trouble = Trouble()
        self._hurry = asyncio.Event()  # ends a wait before the next try
        self._guessing = False  # how long to wait was our own guess, nobody's word
        self._answer: aiohttp.ClientResponse | None = None
        self._at_once = True  # the next try needs no delay
        self._unknown = False  # the last try ended with that
        self._closing = False

    @property
    def open(self) -> bool:
        return self._answer is not None

    async def run(self) -> None:
        while not self._closing:
            self._guessing = False
            wait_s = await self._once()
            if wait_s and not self._closing:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._hurry.wait()

    def reopen(self) -> None:
        """The open channel may belong to nothing any more: after a new registration, or in another network."""
        self._at_once = True
        self._hurry.set()
        if self._answer is not None:
            self._answer.close()

    def broker_answers(self) -> None:
        """It did so to another call: a channel that waits for it to come back need not wait any longer."""
        if self._guessing:
            self._hurry.set()

    def last_time(self) -> None:
        """Stays open as long as it lasts, and is not opened again."""
        self._closing = True

    def close(self) -> None:
        self._closing = True
        if self._answer is not None:
            self._answer.close()

    async def _once(self) -> float:
        """Opens the channel and reads it to its end; returns how long to wait before the next."""
        try:
            self._answer = await self._broker.channel(self._silence_s)
            opened = self.since = time.monotonic()
            self._unknown = False
            if self._closing:  # goodbye is said: an open channel would bring the rows back
                self.close()
                self._answer = None
                return 0.0
            log.info("channel open")
            try:
                retry_s = await self._read(self._answer)
            finally:
                self._answer.close()
                self._answer = None
                self.since = time.monotonic()
            if time.monotonic() - opened >= STEADY_S:
                self._at_once = True
                self._backoff.reset()
            if retry_s is not None:
                return random.uniform(0, min(retry_s, self._slow_retry_s))
            if not self._closing:
                self.trouble = Trouble.now("the channel was lost")
                log.warning("channel lost, reconnecting; running tasks go on")
        except Unavailable as err:
            self.trouble = Trouble.now(err)
            log.warning("channel: %s; trying again", err)
        except Refused as err:
            return await self._refused(err)
        return self._delay_s()

    def _delay_s(self) -> float:
        if self._at_once:
            self._at_once = False
            return 0.0
        self._guessing = True
        wait_s = self._backoff.next_s()
        # Brokers keep what runs for a grace of seconds only, however often the channel was lost.
        return min(wait_s, random.uniform(0, self._working_retry_s)) if self._working() else wait_s

    async def _refused(self, refusal: Refused) -> float:
        if refusal.status == 404:
            again, self._unknown = self._unknown, True
            await self._session_unknown()
            # A broker that registers us and then knows nothing of it is not to be asked in a hurry.
            return self._backoff.next_s() if again else self._delay_s()
        self.trouble = Trouble.now(refusal)
        log.error("channel refused: %s; trying again every %g s", refusal, self._slow_retry_s)
        return self._slow_retry_s

    async def _read(self, answer: aiohttp.ClientResponse) -> float | None:
        """Hands over frames until the end. Seconds when the broker itself asked to reconnect."""
        events = EventReader(FRAME_BYTES)
        try:
            while data := await self._more(answer):
                for payload in payloads(events.feed(data)):
                    frame = self._frame(payload)
                    if frame is None:
                        continue
                    if frame.kind == "superseded":
                        raise Superseded
                    if frame.kind == "shutdown":
                        log.info("the broker shuts down, reconnecting")
                        return frame.retry_ms / 1000
                    self._take(frame)
        except EventTooLarge:
            log.error("the broker sent a frame larger than %d MiB", FRAME_BYTES >> 20)
        except TimeoutError:
            log.warning("the broker was silent for %g s", self._silence_s)
        except (aiohttp.ClientError, OSError):
            pass  # lost: said by the caller
        return None

    async def _more(self, answer: aiohttp.ClientResponse) -> bytes:
        # A limit of our own: the HTTP client's does not run any more once it has met a byte that is not HTTP.
        async with asyncio.timeout(self._silence_s):
            return await answer.content.readany()

    def _frame(self, payload: bytes) -> Frame | None:
        try:
            return _decode(payload)
        except ValueError as err:
            log.error("an unreadable frame from the broker is skipped: %s", err)
        except RecursionError:
            named = TASK_ID.match(payload)
            log.error("a frame nested too deeply is %s", "refused" if named else "skipped: it names no task")
            if named:
                self._refuse(named[1].decode(), TOO_DEEP, "invalid_request")
        return None
