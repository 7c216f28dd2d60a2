"""A store, opened with what the settings say: all times in milliseconds from here on.

The only place that knows both the settings' names and the store's.
"""

from __future__ import annotations

from broker.settings import Settings
from broker.store import Store, Timers
from broker.store.address import Address
from broker.store.jobs import JobLimits


def timers(settings: Settings) -> Timers:
    s = settings

    def ms(seconds: float) -> int:
        return int(seconds * 1000)

    return Timers(
        stale_ms=ms(s.stale_seconds), expire_ms=ms(s.expire_seconds), sweep_ms=ms(s.sweep_seconds),
        settle_ms=ms(s.heartbeat_seconds), accept_ms=ms(s.accept_seconds), grace_ms=ms(s.reconnect_grace_seconds),
        lease_grace_ms=ms(s.lease_grace_seconds), wake_limit_ms=ms(s.wake_limit_seconds),
        replica_ttl_ms=ms(s.replica_ttl_seconds), turn_events_ms=ms(s.turn_events_seconds),
    )


def job_limits(settings: Settings) -> JobLimits:
    s = settings

    def ms(seconds: float) -> int:
        return int(seconds * 1000)

    return JobLimits(
        most=s.jobs_queued, result_ms=ms(s.result_seconds), key_ms=ms(s.idempotency_seconds), tries=s.job_attempts,
        backoff_ms=ms(s.job_retry_seconds), attempt_ms=ms(s.deadline_seconds), idle_ms=ms(s.idle_seconds),
        answer_bytes=s.max_result_bytes, inline_bytes=s.inline_request_bytes, upstream_calls=s.job_upstream_calls,
        poll_ms=ms(s.job_poll_seconds), orphan_ms=ms(s.job_orphan_seconds),
    )


def open_store(settings: Settings, address: Address) -> Store:
    return Store.open(
        address, namespace=settings.namespace, timers=timers(settings), adoption=settings.adoption,
        queue_length=settings.queue_length, queue_bytes=settings.queue_bytes, jobs=job_limits(settings),
    )
