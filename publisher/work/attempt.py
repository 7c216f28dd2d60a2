"""One attempt at one task, from its frame to its last word.

Runs the work and sees to its ending: whatever happens to it (done, failed,
cancelled, late, a bug), exactly one last frame leaves, and no other task feels
it. It does not know what kind of work it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from publisher.failures import TaskFailed
from publisher.link.outgoing import Outgoing

log = logging.getLogger("publisher")


class Attempt:
    def __init__(
        self,
        out: Outgoing,
        work: Coroutine[object, object, None],
        accept_after_s: float,
        deadline_s: float,
        ended: Callable[[Attempt], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.out = out
        out.stop = self.stop
        self._ended = ended
        self._why = ("the publisher stopped", "publisher_offline")
        self._task = loop.create_task(work)
        self._task.add_done_callback(self._finish)
        self._accept = loop.call_later(accept_after_s, out.accept)
        self._deadline = None
        if deadline_s > 0:
            self._deadline = loop.call_later(
                deadline_s, self.stop, "the deadline passed before the backend was done", "deadline"
            )

    def stop(self, message: str, code: str) -> None:
        """Aborts the backend's work; the task's last frame gives this reason."""
        if not self._task.done() and not self._task.cancelling():
            self._why = (message, code)
            self._task.cancel()

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._accept.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        self.out.stop = None
        if task.cancelled():
            self.out.error(*self._why)
        elif (failure := task.exception()) is not None:
            self._report(failure)
        self._ended(self)

    def _report(self, failure: BaseException) -> None:
        if isinstance(failure, TaskFailed):
            self.out.error(str(failure), failure.code)
        else:
            log.error("task %s: unexpected %r", self.out.task_id, failure, exc_info=failure)
            self.out.error(f"unexpected error at the publisher: {type(failure).__name__}", "publisher_error")
