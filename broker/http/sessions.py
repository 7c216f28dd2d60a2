"""``/api/v1/sessions``: publishers as the broker sees them. The caller's own; an admin's call sees everybody's."""

from __future__ import annotations

from aiohttp import web

from .bodies import reply
from .context import STORE
from .edits import owner_of


async def list_sessions(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].sessions.all(owner=owner_of(request)))


async def get_session(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].sessions.session(request.match_info["session"], owner=owner_of(request)))
