"""Takes the channel's frames and turns them into attempts.

It knows which tasks are this program's own, so that a frame given twice runs
once. It decides nothing about the channel: ``shutdown`` and ``superseded`` never
come here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from broker.wire import Frame
from publisher.activity import Activity
from publisher.request import CANCELLED
from publisher.work.attempt import Attempt
from publisher.link.backoff import Backoff
from publisher.link.client import Broker
from publisher.published.endpoint import Endpoint
from publisher.published.roster import Roster
from publisher.tools.tool_servers import ToolServers
from publisher.work.infer import infer
from publisher.link.outgoing import Outgoing
from publisher.link.uploads import Uploader

if TYPE_CHECKING:
    from publisher.tools.tool_server import ToolServer

log = logging.getLogger("publisher")

KINDS = ("infer", "wake", "sleep", "cancel")
SETTLED_KEPT = 4096  # ended tasks remembered, for a frame that crossed with their last word
MOST_DEADLINE_MS = 7 * 24 * 3600 * 1000
GIVE_UP_S = 30.0  # after a task's deadline its frames are worth nothing
NO_DEADLINE_S = 3600.0
Work = Coroutine[object, object, None]
GOING = ("the publisher is shutting down", "publisher_offline")


class Worker:
    def __init__(
        self,
        roster: Roster,
        tools: ToolServers,
        broker: Broker,
        activity: Activity,
        idle_again: Callable[[], None],
        woken: Callable[[str], None],
        accept_after_s: float,
        retry: Callable[[], Backoff],
    ) -> None:
        self.draining = False
        self.waking: set[str] = set()  # by a task of this broker, which hears of the end by that task
        self._roster = roster
        self._tools = tools
        self._broker = broker
        self._activity = activity
        self._idle_again = idle_again
        self._woken = woken
        self._accept_after_s = accept_after_s
        self._retry = retry
        self._uploader: Uploader
        self._running: dict[str, Attempt] = {}
        self._unsettled: dict[str, Endpoint | None] = {}
        self._settled: dict[str, None] = {}
        self._none_running = asyncio.Event()
        self._none_running.set()

    def upload_through(self, uploader: Uploader) -> None:
        self._uploader = uploader

    def take(self, frame: Frame) -> None:
        if frame.kind not in KINDS:
            return
        if not frame.task_id:
            log.error("a frame of kind %s that names no task is skipped", frame.kind)
        elif frame.kind == "cancel":
            self._cancel(frame)
        elif not self._known(frame.task_id):
            self._unsettled[frame.task_id] = self._roster.get(frame.llm_name)
            self._begin(frame)

    def refuse(self, task_id: str, message: str, code: str) -> None:
        """Answers a task whose frame cannot be read."""
        if not self._known(task_id):
            self._unsettled[task_id] = None
            Outgoing(task_id, self._uploader, time.monotonic() + GIVE_UP_S).error(message, code)

    def settled(self, task_id: str) -> None:
        """The broker has the task's last word, or wants none."""
        endpoint = self._unsettled.pop(task_id, None)
        if endpoint is not None and endpoint.misses and endpoint.power.idle:
            self._idle_again()  # not earlier: the broker would still count the task as work
        self._settled[task_id] = None
        if len(self._settled) > SETTLED_KEPT:
            del self._settled[next(iter(self._settled))]

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def in_hand(self) -> bool:
        """Whether there is a task of which the broker has not heard the last word."""
        return bool(self._unsettled)

    async def finished(self) -> None:
        await self._none_running.wait()

    async def stop(self) -> None:
        """Ends all attempts at once, each with its last frame."""
        for attempt in list(self._running.values()):
            attempt.stop(*GOING)
        await self._none_running.wait()

    def _known(self, task_id: str) -> bool:
        return task_id in self._unsettled or task_id in self._settled

    def _cancel(self, frame: Frame) -> None:
        if attempt := self._running.get(frame.task_id):
            attempt.stop("cancelled", "cancelled")
        elif not self._known(frame.task_id):
            # Its frame was lost with an older channel; the broker keeps its slot until our word.
            self._unsettled[frame.task_id] = None
            out = Outgoing(frame.task_id, self._uploader, time.monotonic() + GIVE_UP_S, numbered=False)
            out.error("cancelled before it began", "cancelled")

    def _begin(self, frame: Frame) -> None:
        deadline_s = min(frame.deadline_ms, MOST_DEADLINE_MS) / 1000
        give_up_at = time.monotonic() + (deadline_s or NO_DEADLINE_S) + GIVE_UP_S
        out = Outgoing(frame.task_id, self._uploader, give_up_at)
        served = self._roster.get(frame.llm_name) or self._tools.get(frame.llm_name)
        if self.draining:
            return out.error(*GOING)
        if served is None:
            return out.error(f'"{frame.llm_name}" is not published by this publisher', "not_published")
        self._none_running.clear()
        work, ended = (self._work if isinstance(served, Endpoint) else self._call)(frame, served, out)
        self._running[frame.task_id] = Attempt(
            out, work, self._accept_after_s, deadline_s, lambda attempt: self._ended(attempt, ended)
        )

    def _work(self, frame: Frame, endpoint: Endpoint, out: Outgoing) -> tuple[Work, Callable[[], None]]:
        """The work, and what is to be done when it has ended, even if it never began."""
        if frame.kind == "sleep":
            return self._sleep(endpoint, out), lambda: None
        endpoint.begin()  # also a wake: what somebody waits for is not taken away meanwhile
        if frame.kind == "wake":
            return self._wake(endpoint, out), endpoint.end
        request = self._activity.began(frame.task_id, endpoint.name, frame.operation, frame.streaming)

        def ended() -> None:
            request.ended(CANCELLED)  # said already, unless it was cancelled before its first step
            endpoint.end()

        return infer(frame, endpoint, out, request, self._broker, self._retry()), ended

    def _call(self, frame: Frame, server: ToolServer, out: Outgoing) -> tuple[Work, Callable[[], None]]:
        from publisher.work.tool_call import call_tool  # only here: most publishers have no tool servers

        request = self._activity.began(frame.task_id, server.name, frame.operation, False)
        work = call_tool(frame, server, out, request, self._broker, self._retry())
        return work, lambda: request.ended(CANCELLED)

    def _ended(self, attempt: Attempt, then: Callable[[], None]) -> None:
        del self._running[attempt.out.task_id]
        then()
        if not self._running:
            self._none_running.set()

    async def _wake(self, endpoint: Endpoint, out: Outgoing) -> None:
        self.waking.add(endpoint.name)
        try:
            took_ms = await endpoint.power.up()
            if endpoint.name in self.waking:  # else the session was lost meanwhile, and this task with it
                self._woken(endpoint.name)
        finally:
            self.waking.discard(endpoint.name)
        out.value({"ok": True, "ms": took_ms})

    @staticmethod
    async def _sleep(endpoint: Endpoint, out: Outgoing) -> None:
        began = time.monotonic()
        await endpoint.power.down(by_hand=True)
        out.value({"ok": True, "ms": round((time.monotonic() - began) * 1000)})
