"""OpenAI's Batch API: a file of requests, answered within a time in files of answers and of errors."""

from __future__ import annotations

import re
import time
import uuid
from typing import Literal

import msgspec
from aiohttp import web

from broker.batches.orders import ENDPOINTS
from broker.errors import BadRequest, Conflict
from broker.store.batches import Batch

from .bodies import decode, read_body, reply
from .context import BATCHES, LIMITS, PRINCIPAL, STORE
from .files import SHORTEST_S
from .pages import limit_of, listed

_BODY_BYTES = 1 << 20
_WINDOW = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 14 * 86_400


class Lasting(msgspec.Struct):
    """How long after they were made files are kept."""

    seconds: int
    anchor: Literal["created_at"] = "created_at"


class NewBatch(msgspec.Struct):
    """A batch as its client asks for it."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: Lasting | None = None


async def create(request: web.Request) -> web.Response:
    asked = decode(await read_body(request, _BODY_BYTES, request.app[LIMITS].body_s), NewBatch)
    if asked.endpoint not in ENDPOINTS:
        raise BadRequest(f"`endpoint` is one of {', '.join(ENDPOINTS)}.", param="endpoint")
    window_s = _window_s(asked.completion_window)
    metadata = asked.metadata or {}
    if len(metadata) > 16 or any(len(name) > 64 or len(value) > 512 for name, value in metadata.items()):
        raise BadRequest("`metadata` has at most 16 entries, names to 64 and values to 512 characters.", param="metadata")
    lasts_s = int(request.app[LIMITS].file_s)
    if lasting := asked.output_expires_after:
        if lasting.seconds < SHORTEST_S:
            raise BadRequest(f"`output_expires_after` has at least {SHORTEST_S} seconds.", param="output_expires_after")
        lasts_s = min(lasting.seconds, lasts_s)
    store, principal = request.app[STORE], request[PRINCIPAL]
    now = int(time.time())
    batch = f"batch_{uuid.uuid4().hex}"
    await store.batches.create(
        batch, principal.owner, endpoint=asked.endpoint, file=asked.input_file_id, window=asked.completion_window, created_s=now,
        expires_s=now + window_s, metadata=msgspec.json.encode(metadata), may_wake=principal.may_wake, lasts_s=lasts_s,
        ttl_ms=int(request.app[LIMITS].file_s + window_s) * 1000,
    )
    request.app[BATCHES].nudge()
    return reply(shown(await store.batches.get(batch, principal.owner)))


async def list_batches(request: web.Request) -> web.Response:
    batches, more = await request.app[STORE].batches.page(
        request[PRINCIPAL].owner, after=request.query.get("after", ""), limit=limit_of(request)
    )
    return reply(listed([shown(batch) for batch in batches], lambda batch: batch["id"], more=more))


async def get_batch(request: web.Request) -> web.Response:
    return reply(shown(await request.app[STORE].batches.get(request.match_info["batch"], request[PRINCIPAL].owner)))


async def cancel(request: web.Request) -> web.Response:
    store, owner, name = request.app[STORE].batches, request[PRINCIPAL].owner, request.match_info["batch"]
    status = await store.cancel(name, owner, now_s=int(time.time()))
    if status not in ("cancelling", "cancelled"):
        raise Conflict(f"The batch {name!r} is {status} already; only one that is under way can be cancelled.")
    return reply(shown(await store.get(name, owner)))


def shown(batch: Batch) -> dict:
    """A batch as OpenAI's clients know it."""
    stamps = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    return {
        "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "errors": batch.errors, "input_file_id": batch.input,
        "completion_window": batch.window, "status": batch.status, "output_file_id": batch.output or None,
        "error_file_id": batch.error or None, "created_at": batch.created, "expires_at": batch.expires,
        **{f"{name}_at": batch.stamps.get(name) for name in stamps},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "usage": batch.usage, "metadata": batch.metadata,
    }


def _window_s(text: str) -> int:
    found = _WINDOW.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_S:
        raise BadRequest("`completion_window` is a time such as `24h`, to 14 days.", param="completion_window")
    return seconds
