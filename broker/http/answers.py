"""An exchange's reply, written to the client: whole, or as a stream.

Bytes go out as they came in. Once the first byte or comment is out the status
is committed: a later refusal is an event in the stream, never silence.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from broker.errors import BackendFailed, Refusal
from broker.relay.exchange import Exchange
from broker.relay.inbound import event
from broker.relay.parts import Head
from broker.relay.relay import Call

from .context import ID, LIMITS, METRICS, RELAY
from .middleware import REQUEST_ID, allow_origin

_DONE = b"data: [DONE]\n\n"
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def answer(request: web.Request, call: Call) -> web.StreamResponse:
    """Relays a call and writes its reply. Raises the Refusal when nothing was written yet."""
    relay = request.app[RELAY]
    metrics = request.app[METRICS]
    exchange = await relay.begin(call, request[ID])
    reason = "client gone"
    try:
        response = await (_stream(request, exchange) if call.streaming else _whole(request, exchange))
        metrics.relayed(call.operation, exchange.refused or "ok", exchange)
        return response
    except Refusal as refusal:
        reason = refusal.code
        metrics.relayed(call.operation, refusal.code, exchange)
        raise
    except asyncio.CancelledError:
        slow = exchange.overflow()
        reason = slow.code if slow else reason
        metrics.relayed(call.operation, slow.code if slow else "client_gone", exchange)
        raise
    except ConnectionError:
        metrics.relayed(call.operation, "client_gone", exchange)
        raise
    finally:
        relay.end(exchange, reason)


async def _whole(request: web.Request, exchange: Exchange) -> web.Response:
    body = await _collect(request, exchange)
    head = exchange.head or Head(200)
    response = web.Response(body=body, status=head.status, headers=head.headers)
    return response


async def _collect(request: web.Request, exchange: Exchange, first: bytes = b"") -> bytes:
    limit = request.app[LIMITS].result_bytes
    pieces = [first] if first else []
    size = len(first)
    while not exchange.done:
        piece = await exchange.next()
        size += len(piece)
        if size > limit:
            raise BackendFailed(f"The backend's answer is larger than {limit:,} bytes.")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _stream(request: web.Request, exchange: Exchange) -> web.StreamResponse:
    limits = request.app[LIMITS]
    comments = request.headers.get("X-Wait-Comments", "").lower() != "off"
    wait_s = limits.comment_first_s if comments else None
    response: web.StreamResponse | None = None
    tail = b""
    try:
        while True:
            data = await exchange.next(wait_s)
            if data is None:
                response = response or await _open(request, Head(200))
                await response.write(_comment(exchange))
                wait_s = limits.comment_every_s
                continue
            head = exchange.head
            if head is not None and (not _is_events(head) or (response and head.status >= 400)):
                body = await _collect(request, exchange, data)
                if response is None:
                    return web.Response(body=body, status=head.status, headers=head.headers)
                await response.write_eof(_as_events(head, body))
                return response
            response = response or await _open(request, head or Head(200))
            wait_s = limits.comment_every_s if comments else None
            if data:
                tail = (tail + data)[-len(_DONE) :]
            if exchange.done:
                await response.write_eof(data if tail == _DONE else data + _DONE)
                return response
            if data:
                await response.write(data)
    except Refusal as refusal:
        if response is None:
            raise
        exchange.refused = refusal.code
        # The publisher hears why at once, however slowly the client reads the rest.
        request.app[RELAY].end(exchange, refusal.code)
        await response.write_eof(_error_event(refusal.shape()["error"], refusal.status))
        return response


def _comment(exchange: Exchange) -> bytes:
    """A comment line for a client that waits; with its place in line when it came, if there was one."""
    return b": waiting, place %d on arrival\n\n" % exchange.place if exchange.place else b": waiting\n\n"


async def _open(request: web.Request, head: Head) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status, headers={**head.headers, **_STREAM_HEADERS})
    if "content-type" not in head.headers:
        response.headers["Content-Type"] = "text/event-stream; charset=utf-8"
    response.headers[REQUEST_ID] = request[ID]
    allow_origin(request, response, request.headers.get("Origin", ""))
    await response.prepare(request)
    return response


def _is_events(head: Head) -> bool:
    return head.headers.get("content-type", "text/event-stream").startswith("text/event-stream")


def _as_events(head: Head, body: bytes) -> bytes:
    """A whole answer on a stream that has begun with comments already."""
    if head.status < 400:
        return event(body) + _DONE
    try:
        error = msgspec.json.decode(body)["error"]
        error = error if isinstance(error, dict) else {"message": str(error)}
    except (msgspec.DecodeError, KeyError, TypeError):
        error = {"message": body[:2000].decode(errors="replace")}
    return _error_event({"type": "backend_error", "code": None, "param": None, **error}, head.status)


def _error_event(error: dict, status: int) -> bytes:
    return event(msgspec.json.encode({"error": {**error, "status": status}}))
