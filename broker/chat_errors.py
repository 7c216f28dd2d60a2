"""What is refused of chat: threads that are not one's own, turns that cannot begin, and why turns end early.

As in ``errors.py``: each class has its status, its code and its default message.
"""

from __future__ import annotations

from .errors import Conflict, NotFound, Refusal, TooLarge, Unavailable


class UnknownThread(NotFound):
    """There is no such thread of yours; `GET /api/v1/threads` lists those that there are."""

    code = "unknown_thread"


class UnknownTurn(NotFound):
    """This thread has no such turn."""

    code = "unknown_turn"


class TurnRunning(Conflict):
    """A turn runs in this thread; wait for its end, or cancel it."""

    code = "turn_running"


class ThreadTooLong(TooLarge):
    """The thread has become too long for one request; begin another one."""

    code = "thread_too_long"


class TurnCancelled(Refusal):
    """The turn was cancelled."""

    status = 499
    code = "cancelled"


class AgentGone(Unavailable):
    """The agent of this thread is gone; the thread goes on when there is one of that name again."""

    code = "agent_gone"
    retry_after_s = 5


class ReplicaLost(Unavailable):
    """The broker that ran this turn was lost; ask again."""

    code = "replica_lost"


class BrokerStopped(Unavailable):
    """this broker was shut down before the answer was complete"""

    code = "broker_stopped"
