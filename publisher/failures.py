"""The ways in which one task can fail, each with the code that the caller reads.

Raised anywhere in a task's work; ``attempt.py`` turns it into the task's last
frame. Never used for what concerns the whole program: see ``client.py``.
"""

from __future__ import annotations


TOO_DEEP = "the request is nested too deeply"


class TaskFailed(Exception):
    code = "publisher_error"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class BackendUnreachable(TaskFailed):
    """Nobody listens: the request has certainly not begun."""

    code = "backend_unreachable"


class BackendBroken(TaskFailed):
    """The backend took the request and then did not speak proper HTTP."""

    code = "backend_error"


class WakeFailed(TaskFailed):
    code = "wake_failed"


class SleepFailed(TaskFailed):
    code = "sleep_failed"


class RecipeFailed(Exception):
    """A recipe's step ended badly. Its text reaches callers: no secret may be in it."""
