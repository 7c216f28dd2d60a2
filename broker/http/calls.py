"""A client's inference call, read: which LLM, streaming or not, how long at most.

The body stays as it came, and only `model` and `stream` are looked at, unless the
front speaks another dialect and translates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import msgspec
from aiohttp import web

from broker.dialects.anthropic_request import Untranslatable
from broker.errors import BadRequest, Unprocessable
from broker.relay.call import Call
from broker.relay.exchange import Patience
from broker.unknown import UnknownLLM
from broker.wire import TOOLS

from .bodies import describe, read_body
from .context import LIMITS, Limits, PRINCIPAL
from .keeping import keeping


Made = TypeVar("Made")

#: Who comes first in a line; the first is what a request has that says nothing.
PRIORITIES = ("interactive", "normal", "batch")


class Asked(msgspec.Struct):
    """The fields of a request body that the broker reads."""

    model: str | None = None
    stream: bool | None = None
    encoding_format: str | None = None


_ASKED = msgspec.json.Decoder(Asked)


async def read_call(request: web.Request, operation: str, llm: str | None = None) -> tuple[Call, Asked]:
    """The call in a request; ``llm`` None: the body's ``model`` names it. Raises BadRequest."""
    body = await read_request(request)
    try:
        asked = _ASKED.decode(body)
        body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(describe(error)) from None
    name = llm if llm is not None else asked.model
    return call_of(request, operation, name, body, streaming=bool(asked.stream), as_it_comes=True), asked


async def read_request(request: web.Request) -> bytes:
    """The body of an inference call. Raises BadRequest, TooLarge, RequestTimeout, UnsupportedEncoding."""
    limits = request.app[LIMITS]
    body = await read_body(request, limits.request_bytes, limits.body_s)
    if not body:
        raise BadRequest("The body is empty; send the request as JSON.")
    return body


def call_of(
    request: web.Request, operation: str, llm: str | None, body: bytes, *, streaming: bool, as_it_comes: bool = False
) -> Call:
    """A call by that request's caller, with that body. ``as_it_comes``: nobody translates its reply. Raises BadRequest,
    UnknownLLM, Unprocessable."""
    if not llm:
        raise BadRequest("`model` is missing; GET /v1/models lists the possible ones.", param="model")
    if llm.startswith(TOOLS):
        # Rows beside the LLMs, which no client asks: a tool server is called by the broker, for a chat's tools.
        raise UnknownLLM(f"There is no LLM {llm!r}; GET /v1/models lists those that there are.", param="model")
    return Call(
        llm=llm, operation=operation, body=body, streaming=streaming,
        owner=request[PRINCIPAL].owner, patience=patience_of(request, request.app[LIMITS]),
        priority=priority_of(request), may_wake=request[PRINCIPAL].may_wake,
        keep=keeping(request, body, may_resume=streaming and as_it_comes),
    )


def translated(translate: Callable[..., Made], given: object) -> Made:
    """What a dialect makes of a request. Raises BadRequest for what it has no words for."""
    try:
        return translate(given)
    except Untranslatable as why:
        raise BadRequest(str(why), param=why.param) from None


def priority_of(request: web.Request) -> str:
    """Raises Unprocessable."""
    priority = request.headers.get("X-Priority", PRIORITIES[0])
    if priority not in PRIORITIES:
        raise Unprocessable("X-Priority is `interactive`, `normal` or `batch`.", param="X-Priority")
    return priority


def patience_of(request: web.Request, limits: Limits) -> Patience:
    """How long that request may take: as long as any, or less if its X-Deadline-Seconds says so. Raises Unprocessable."""
    text = request.headers.get("X-Deadline-Seconds")
    if text is None:
        return limits.patience
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise Unprocessable("X-Deadline-Seconds must be a number of seconds above 0.", param="X-Deadline-Seconds")
    return replace(limits.patience, deadline_s=min(seconds, limits.patience.deadline_s))
