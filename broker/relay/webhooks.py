"""Tells webhooks that their task has ended: signed, tried again until they say that they heard, by whichever replica.

Each is told at least once; ``id`` is the same at each try, so that a receiver can tell.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from broker.errors import Refusal, StoreUnavailable
from broker.model import iso
from broker.store.hooks import Hooks
from broker.store.jobs import Job

from .job_told import told

log = logging.getLogger(__name__)

SIGNATURE, EVENT = "X-Reveille-Signature", "X-Reveille-Event"
_LONGEST_MS = 21_600_000
#: Webhooks that one replica tells at a time; some never answer.
_AT_ONCE = 100


class Hook(msgspec.Struct):
    """Where a task's end is told, and the sealed secret with which that is signed."""

    url: str
    sealed: str
    key: str

    @property
    def bond(self) -> str:
        """What the secret is sealed to."""
        return bond(self.url)


def bond(url: str) -> str:
    """The name under which the secret of a webhook at that address is sealed."""
    return f"webhook {url}"


class Poster(Protocol):
    """Who posts (``broker/upstream/hooks.py``)."""

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int | str:
        """The status that it was answered with, or why there was none."""


class Webhooks:
    """``unseal``: a secret, from its name, its sealed value and its key's id. ``retry_s``: wait before the second try;
    each further one is four times as long, up to 6 hours."""

    def __init__(self, hooks: Hooks, poster: Poster, unseal: Callable[[str, str, str], str], *, retry_s: float):
        self._hooks = hooks
        self._poster = poster
        self._unseal = unseal
        self._retry_s = retry_s
        self._telling: set[asyncio.Task] = set()

    async def send_due(self) -> None:
        """Begins to tell all whose turn it is, as many as may be; one that is slow holds up no other. Raises
        StoreUnavailable."""
        while (room := _AT_ONCE - len(self._telling)) > 0 and (due := await self._hooks.take(room)):
            for number, job in due:
                telling = asyncio.create_task(self._tell(number, job))
                self._telling.add(telling)
                telling.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """What is not told yet another replica tells."""
        for telling in self._telling:
            telling.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _tell(self, number: int, job: Job) -> None:
        try:
            await self._send(number, job)
        except StoreUnavailable:
            # Its lease runs out, and it is told again.
            return
        except Exception:
            log.exception("bug", extra={"duty": "webhooks"})

    async def _send(self, number: int, job: Job) -> None:
        hook = msgspec.json.decode(job.webhook, type=Hook)
        try:
            secret = self._unseal(hook.bond, hook.sealed, hook.key)
        except Refusal as refusal:
            # Its message names the address, which may be a secret.
            log.warning("webhook not sent", extra={"task": job.id, "why": refusal.code})
            return await self._hooks.sent(job, number, refusal.code, retry_ms=_wait_ms(self._retry_s, number))
        body = msgspec.json.encode({
            "id": f"evt_{job.id}_{job.ended_ms}", "type": f"task.{job.state}", "createdAt": iso(str(job.ended_ms)), "data": told(job),
        })
        outcome = await self._poster.post(hook.url, body, {
            "Content-Type": "application/json", EVENT: f"task.{job.state}", SIGNATURE: signature(secret, body, int(time.time())),
        })
        heard = isinstance(outcome, int) and 200 <= outcome < 300
        retry_ms = None if heard or outcome == 410 else _wait_ms(self._retry_s, number)
        await self._hooks.sent(job, number, "delivered" if heard else str(outcome), retry_ms=retry_ms)


def signature(secret: str, body: bytes, at_s: int) -> str:
    """``t=<Unix seconds>,v1=<hex>``: HMAC-SHA256 over ``<t>.<body>``."""
    digest = hmac.new(secret.encode(), b"%d.%s" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def _wait_ms(retry_s: float, number: int) -> int:
    return int(min(_LONGEST_MS, retry_s * 1000 * 4 ** (number - 1)))
