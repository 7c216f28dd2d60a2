"""Little HTTP servers that answer what a test says, path by path, and remember what they were asked."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from tests.support.ending import end

HANG = object()  # takes the request and never answers


class Little:
    """``pages``: path → JSON, a text, ``HANG``, or ``(status, either, headers?)``. Everything else is ``other``."""

    def __init__(
        self, pages: dict[str, object], other: object = (404, "no such page"), host: str = "127.0.0.1"
    ) -> None:
        self.pages = dict(pages)
        self.other = other
        self.host = host
        self.port = 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Little:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._runner)

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.path, dict(request.headers)))
        said = self.pages.get(request.path, self.other)
        status, body, *headers = said if isinstance(said, tuple) else (200, said)
        if body is HANG:
            await asyncio.Event().wait()
        plain = isinstance(body, str)
        text = body if plain else json.dumps(body)
        kind = "text/plain" if plain else "application/json"
        return web.Response(status=status, text=text, content_type=kind, headers=headers[0] if headers else None)


def openai_list(*models: str, owner: str = "me") -> dict:
    return {"object": "list", "data": [{"id": model, "object": "model", "owned_by": owner} for model in models]}


BROKER = {
    "/healthz": {"status": "ok", "version": "0.1.0"},
    "/openapi.json": {"openapi": "3.1.0", "info": {"title": "Reveille broker", "version": "0.1.0"}},
    "/v1/models": openai_list("m", owner="reveille"),
}
