"""Webhooks that are to be sent: who sends which, and what became of it. An outbox in Redis, ordered by when each is due."""

from __future__ import annotations

from .jobs import Job, read_job
from .scripts import Scripts

#: A sender that says nothing for so long is dead; another sends again.
LEASE_MS = 60_000
_LASTS_MS = 86_400_000
_TAKE = 20


class Hooks:
    """``tries``: at most so many, within a day of the job's end."""

    def __init__(self, scripts: Scripts, *, tries: int = 10):
        self._scripts = scripts
        self._tries = tries

    async def take(self, most: int) -> list[tuple[int, Job]]:
        """Some that are due, each with the number of this try; they are the caller's for a minute."""
        taken = await self._scripts.run("hook_take", min(most, _TAKE), LEASE_MS, self._tries, _LASTS_MS)
        return [(number, read_job(words)) for number, words in taken]

    async def sent(self, job: Job, number: int, outcome: str, *, retry_ms: int | None) -> None:
        """What became of a try to tell that end, for whoever asks; and when the next is due, None: there is none."""
        await self._scripts.run("hook_sent", job.id, number, job.ended_ms, outcome, "" if retry_ms is None else retry_ms)
