"""Awake and asleep, and the two ways between them, for one endpoint.

However many want it awake, one wake runs at a time and all share its end; one
that stops waiting does not stop it. Falling asleep is first agreed with every
broker, then done: a request that comes in between waits, and wakes it again. It
knows no protocol: brokers are spoken to through ``agree``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from publisher.activity import Activity
from publisher.failures import RecipeFailed, SleepFailed, TaskFailed, WakeFailed
from publisher.power.group import Group
from publisher.power.settled import until_down, until_up
from publisher.power.ways import Limits, State, Ways

log = logging.getLogger("publisher")


class Power:
    def __init__(
        self,
        name: str,
        ways: Ways,
        limits: Limits,
        busy: Callable[[], bool],
        agree: Callable[[], Awaitable[bool]],
        beat: Callable[[], None],
        changed: Callable[[], None],
        activity: Activity,
        group: Group | None = None,
        clock: Callable[[], float] = time.monotonic,
        model: object = None,
        drain: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.name = name
        self.model = self if model is None else model  # the same for all that mean the same model of the same server
        self.state = State.AWAKE
        self.draining = False  # awake, and gets no new work
        self.told_to_sleep = False  # by hand, and nobody asked for it since
        self.clock = clock
        self.since = self.last_used = self._woke = clock()
        self._ways = ways
        self._limits = limits
        self._busy = busy
        self._agree = agree
        self._drain = drain
        self._beat = beat
        self._changed = changed
        self._activity = activity
        self._group = group
        self._waking: asyncio.Task[int] | None = None
        self._falling: asyncio.Task[None] | None = None
        if group is not None:
            group.join(self)

    @property
    def can_wake(self) -> bool:
        return self._ways.wake is not None

    @property
    def can_sleep(self) -> bool:
        return self._ways.sleep is not None and self._ways.wake is not None

    @property
    def moving(self) -> bool:
        return self._waking is not None or self._falling is not None

    @property
    def in_line(self) -> bool:
        """It is to wake when its group's turn comes to it."""
        return self._group is not None and self._waking is not None and self.state is State.ASLEEP

    @property
    def idle(self) -> bool:
        return not self.moving and not self._busy()

    @property
    def stays_awake_s(self) -> float:
        """How long until it may sleep, against flapping."""
        return max(0.0, self._woke + self._limits.min_awake_s - self.clock())

    def used(self) -> None:
        self.last_used = self.clock()

    def seen(self, up: bool) -> None:
        """What a look found, while nothing moved. Only what can be woken counts as asleep."""
        self._enter(State.AWAKE if up or not self.can_wake else State.ASLEEP)

    async def up(self) -> int:
        """Returns once the backend answers, with the milliseconds it took; else ``WakeFailed``."""
        if self._ways.wake is None:
            raise WakeFailed(f'"{self.name}" has no wake recipe')
        if self._waking is None:
            self._waking = asyncio.create_task(self._wake(), name=f"wake {self.name}")
            self._waking.add_done_callback(self._woken)
        return await self._end_of(self._waking, WakeFailed)

    async def ready(self) -> None:
        """For a request: returns when it may go to the backend, which may take a wake."""
        while self.moving or self.state is State.ASLEEP:
            if self._falling is not None:
                await asyncio.wait([self._falling])
            else:
                await self.up()

    async def down(self, by_hand: bool = False) -> None:
        """Puts it to sleep. Raises ``TaskFailed`` ("busy") when there is work, ``SleepFailed``."""
        if not self.can_sleep:
            missing = "sleep" if self._ways.sleep is None else "wake"
            raise SleepFailed(f'"{self.name}" has no {missing} recipe')
        if self._falling is None and self.state is not State.ASLEEP:
            if not self.idle:
                raise TaskFailed(f'"{self.name}" is not idle: try again when its work is done', "busy")
            self._falling = asyncio.create_task(self._fall(), name=f"sleep {self.name}")
            self._falling.add_done_callback(self._fallen)
        self.told_to_sleep = self.told_to_sleep or by_hand
        if self._falling is not None:
            await self._end_of(self._falling, SleepFailed)

    async def hold_back(self) -> bool:
        """Asks the brokers to give it no new work until ``go_on``; False when one cannot do that."""
        self.draining = self._drain is not None
        if self.draining and not await self._drain():
            self.draining = False
        return self.draining

    def go_on(self) -> None:
        if self.draining:
            self.draining = False
            self._changed()

    def follow(self, before: Iterable[asyncio.Task[None]]) -> None:
        """What it takes the place of is still being stopped: until that is over, nothing goes to the backend."""
        self._falling = asyncio.create_task(self._after(before), name=f"sleep {self.name}")
        self._falling.add_done_callback(self._fallen)
        self._enter(State.FALLING)

    async def stop(self) -> None:
        if self._group is not None:
            self._group.leave(self)
        for task in (self._waking, self._falling):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _end_of(self, way: asyncio.Task, failed: type[TaskFailed]):
        """Who stops waiting does not stop it; when it is stopped, that is a failure and nobody else's end."""
        # Not awaited itself: one that is just done would let us go on before its end is noted, and ``ready``
        # would turn in circles for ever.
        await asyncio.wait([way])
        if way.cancelled():
            raise failed(f'"{self.name}" is stopped: the publisher ends, or its config is another one now')
        return way.result()

    # ── waking ──────────────────────────────────────────────────────────────

    async def _wake(self) -> int:
        began = self.clock()
        if self._falling is not None:
            await asyncio.wait([self._falling])
        if self.state is State.AWAKE and await self._ways.available():
            return round((self.clock() - began) * 1000)  # its sleep was called off, or somebody else woke it
        self._enter(State.ASLEEP)  # also while it waits for its turn: it is in nobody's way
        if self._group is None:
            await self._wake_alone()
        else:
            async with self._group.alone(self, self._limits.group_wait_s, self._limits.max_wait_s):
                await self._wake_alone()
        return round((self.clock() - began) * 1000)

    async def _wake_alone(self) -> None:
        log.info('waking "%s"', self.name)
        self._activity.waking(self.name, self._limits.max_wait_s)
        self._enter(State.WAKING)
        try:
            await self._start()
        except WakeFailed:
            if self._ways.give_up is not None:
                await self._ways.give_up()
            raise

    async def _start(self) -> None:
        try:
            await self._ways.wake()
        except Exception as err:
            raise WakeFailed(self._why("wake", err)) from None
        await until_up(self._ways, self._limits, self.clock, self._beat)
        if self._ways.canary is not None:
            await self._ways.canary(self._limits.canary_s)

    def _woken(self, wake: asyncio.Task[int]) -> None:
        self._waking = None
        self.used()
        if wake.cancelled() or wake.exception() is not None:
            self._enter(State.ASLEEP)
            if wake.cancelled():
                self._activity.wake_stopped(self.name)
            else:
                log.error('"%s" did not wake: %s', self.name, wake.exception())
                self._activity.wake_failed(self.name, str(wake.exception()))
            return
        if self.state is not State.AWAKE:
            self._activity.woke(self.name, wake.result())
            log.info('"%s" is awake after %.1f s', self.name, wake.result() / 1000)
        self._enter(State.AWAKE)

    # ── falling asleep ──────────────────────────────────────────────────────

    async def _fall(self) -> None:
        self._enter(State.FALLING)
        if not await self._agree():
            raise TaskFailed(f'"{self.name}" has work on its way', "busy")
        log.info('"%s" falls asleep', self.name)
        self._activity.falling_asleep(self.name)
        try:
            await self._ways.sleep()
        except Exception as err:
            raise SleepFailed(self._why("sleep", err)) from None
        await until_down(self._ways, self._limits, self.clock)

    async def _after(self, before: Iterable[asyncio.Task[None]]) -> None:
        await asyncio.wait(before)
        if await self._ways.available():
            raise TaskFailed(f'"{self.name}" is up', "busy")

    def _fallen(self, fall: asyncio.Task[None]) -> None:
        self._falling = None
        self.used()  # after a failure the next try waits as long as the first
        if fall.cancelled():
            self._enter(State.AWAKE)
        elif (failure := fall.exception()) is None:
            log.info('"%s" is asleep', self.name)
            self._activity.asleep(self.name)
            self._enter(State.ASLEEP)
        else:
            if not (isinstance(failure, TaskFailed) and failure.code == "busy"):
                log.error('"%s" did not fall asleep: %s', self.name, failure)
                self._activity.failed(self.name, str(failure))
            self._enter(State.AWAKE)  # if it is not, the next look finds out

    def _why(self, recipe: str, err: Exception) -> str:
        if isinstance(err, RecipeFailed | TaskFailed):
            return f"the {recipe} recipe failed: {err}"
        log.error('the %s recipe of "%s" broke: %r', recipe, self.name, err, exc_info=err)
        return f"the {recipe} recipe broke ({type(err).__name__}): see the log"

    def _enter(self, state: State) -> None:
        if state is not self.state:
            if state is State.AWAKE and self.state is not State.FALLING:  # a sleep that was called off is no wake
                self._woke = self.clock()
            self.state = state
            self.since = self.clock()
            self.told_to_sleep = self.told_to_sleep and state in (State.FALLING, State.ASLEEP)
            self._changed()
