"""``/api/v1/requests/<id>``: where a request is, and the end of it. Only its owner's tokens and an admin's see it."""

from __future__ import annotations

from aiohttp import web

from broker.relay.parts import failure
from broker.unknown import UnknownRequest

from .bodies import reply
from .context import PRINCIPAL, STORE
from .explanations import explanation


async def get_request(request: web.Request) -> web.Response:
    """Of a request that has not ended: ``{id, state, llm, priority, position, estimatedSeconds}``, the last two null
    outside a line, ``priority`` null for one that never was in any."""
    request_id = request.match_info["request"]
    tasks, owner = request.app[STORE].tasks, _owner(request)
    found = await tasks.look(request_id, owner=owner)
    if not found:
        raise UnknownRequest()
    return reply({
        "id": request_id, "state": found.state, "llm": found.llm, "priority": found.priority or None,
        "position": found.place or None, "estimatedSeconds": found.seconds if found.place else None,
    })


async def cancel_request(request: web.Request) -> web.Response:
    request_id = request.match_info["request"]
    refusal = failure(499, "request_cancelled", "the request was cancelled by DELETE /api/v1/requests")
    tasks, owner = request.app[STORE].tasks, _owner(request)
    if not await tasks.cancel(request_id, "cancelled", owner=owner, refusal=refusal, whole=True):
        raise UnknownRequest()
    return reply({"id": request_id, "cancelled": True})


async def explain_request(request: web.Request) -> web.Response:
    """Of a request that asked a pool, also some time after its end: who was chosen, among whom, and why."""
    request_id, owner = request.match_info["request"], _owner(request)
    said = await request.app[STORE].pools.explained(request_id)
    if not said or owner not in ("", said[0].get("owner")):
        raise UnknownRequest("There is no such request to a pool; what was decided is told for a quarter of an hour.")
    return reply(explanation(request_id, said))


def _owner(request: web.Request) -> str:
    """Whose requests the caller may see; '' means everybody's."""
    principal = request[PRINCIPAL]
    return "" if principal.may("admin") else principal.owner
