"""aiohttp's server, set for the open network: departed clients are noticed, and what is no
valid HTTP is answered in the API's own error shape."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.web_protocol import RequestHandler

from broker.errors import BadRequest, Refusal

from .bodies import UnsupportedEncoding, refusal_reply
from .middleware import Bug

log = logging.getLogger(__name__)


class BadHttp(BadRequest):
    """The request is not valid HTTP, or its headers are too large."""

    code = "bad_http"


class _Connection(RequestHandler):
    """One client's connection; its only change is the form of protocol errors."""

    def handle_error(self, request, status=500, exc=None, message=None):
        refusal: Refusal = BadHttp()
        refusal.status = status
        if isinstance(exc, ConnectionError):
            # Its client left, or was cut off, while its answer was written: nobody's mistake, and nobody hears this.
            refusal = Bug()
        elif status >= 500:
            log.error("bug", exc_info=exc)
            refusal = Bug()
        if isinstance(exc, ContentEncodingError):
            # Encodings that aiohttp cannot undo end here, the others in read_body.
            refusal = UnsupportedEncoding()
        response = refusal_reply(refusal)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self):
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner that cancels the handlers of clients that left (aiohttp notices them no other
    way) and does not wait for streams: the broker has drained before."""

    def __init__(self, app: web.Application, *, keepalive_timeout: float):
        super().__init__(
            app, handle_signals=False, access_log=None, handler_cancellation=True,
            keepalive_timeout=keepalive_timeout, shutdown_timeout=0.5,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
