"""A job as its callers see it: a *task* of the API, in JSON."""

from __future__ import annotations

from broker.model import AGENT_PREFIX, iso
from broker.store.jobs import Attempt, Job

PATH = "/api/v1/tasks"


def told(job: Job) -> dict:
    """``GET /api/v1/tasks/<id>``."""
    agent = job.target.removeprefix(AGENT_PREFIX) if job.target.startswith(AGENT_PREFIX) else None
    code, message = job.why or ("", "")
    return {
        "id": job.id, "object": "task", "state": job.state, "model": job.target, "agent": agent,
        "operation": job.operation, "streaming": job.streaming, "priority": job.priority, "position": job.place,
        "createdAt": _time(job.made_ms), "deadline": _time(job.deadline_ms), "endedAt": _time(job.ended_ms),
        "retryAt": _time(job.retry_ms), "attempts": [_attempt(one) for one in job.attempts],
        "result": {"status": job.result_status, "url": f"{PATH}/{job.id}/result"} if job.result else None,
        "error": {"code": code, "message": message} if code else None,
        "webhook": {"state": job.delivered or "pending"} if job.webhook else None,
    }


def _attempt(one: Attempt) -> dict:
    return {
        "id": one.task, "llm": one.llm or None, "startedAt": _time(one.began_ms), "endedAt": _time(one.ended_ms),
        "status": one.status, "code": one.code or None, "message": one.message or None,
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(str(ms))
