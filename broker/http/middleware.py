"""Around every handler: a request id, the door, and refusals turned into answers.

The only place that knows that refusals have HTTP bodies. Whatever else goes
wrong is our bug: logged with the request's id, answered without a traceback.
"""

from __future__ import annotations

import logging

from aiohttp import web

from broker.errors import NotFound, Refusal, Unavailable
from broker.relay.call import new_request_id

from .auth import credential
from .context import DOOR, DRAINING, ID, METRICS, PRINCIPAL
from .refusals import refuse

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
#: Routes that need no token at all.
PUBLIC = "public"


class MethodNotAllowed(Refusal):
    """That method is not possible here."""

    status = 405
    code = "method_not_allowed"


class Bug(Refusal):
    """The broker made a mistake; its log says more under this request's id."""

    status = 500
    code = "internal_error"


class Draining(Unavailable):
    """This broker is shutting down; another try reaches another one."""

    retry_after_s = 1


def guard(roles: dict[object, str], last_words: frozenset):
    """The middleware; ``roles`` says which role each handler asks for, ``last_words`` which
    handlers still serve a broker that shuts down: without results no running request could end."""

    @web.middleware
    async def around(request: web.Request, handler) -> web.StreamResponse:
        request_id = new_request_id()
        request[ID] = request_id
        origin = request.headers.get("Origin", "")
        try:
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                response = web.Response(status=204)
            else:
                role = roles.get(request.match_info.handler, "")
                if role != PUBLIC:
                    if request.app[DRAINING] and request.match_info.handler not in last_words:
                        raise Draining()
                    request[PRINCIPAL] = await request.app[DOOR].admit(
                        credential(request.headers), request.host, origin, role
                    )
                response = await handler(request)
        except Refusal as refusal:
            response = refuse(request, refusal)
        except web.HTTPNotFound:
            response = refuse(request, NotFound(f"There is nothing at {request.method} {request.path}; see /openapi.json."))
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            response = refuse(request, MethodNotAllowed(f"{request.method} is not possible here; {allowed} is."))
            response.headers["Allow"] = allowed
        except web.HTTPException as error:
            refusal = Refusal(error.reason)
            refusal.status, refusal.code = error.status, "http_error"
            response = refuse(request, refusal)
        except ConnectionError:
            # The client went away in the middle of its answer; there is nobody to tell.
            raise
        except Exception:
            log.exception("bug", extra={"request": request_id, "path": request.path})
            response = refuse(request, Bug())
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
            allow_origin(request, response, origin)
            if response.status >= 400 and not request.content.is_eof():
                # Its body was not read to the end, so nothing that follows can be told from it.
                response.force_close()
            elif request.app[DRAINING] and response.status == Draining.status:
                # Or the client would send its next try on this connection, to us again.
                response.force_close()
        request.app[METRICS].answered(response.status)
        return response

    return around


def allow_origin(request: web.Request, response: web.StreamResponse, origin: str) -> None:
    """CORS, for the origins that the settings name."""
    origins = request.app[DOOR].origins
    if not origin or not (origin in origins or "*" in origins):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    response.headers["Access-Control-Expose-Headers"] = (
        "X-Request-Id, X-Served-By, X-Stream-Id, X-Turn-Index, Idempotency-Replayed, Retry-After, ETag"
    )
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        response.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
        response.headers["Access-Control-Max-Age"] = "600"
