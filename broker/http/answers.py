"""An exchange's reply, written to the client: whole, or as a stream, in the voice of its front.

Once the first byte or comment is out the status is committed: a later refusal is
said in the stream, never silence.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from msgspec import structs

from broker.chat.block import as_persona
from broker.chat.looped import Looped, has_tools
from broker.errors import AgentLLMMissing, BackendFailed, BadRequest, Refusal, UnknownLLM
from broker.model import Persona
from broker.relay.exchange import Exchange
from broker.relay.parts import Head
from broker.relay.relay import Call, Relay

from .context import ID, LIMITS, METRICS, POST, RELAY, STORE, TOOLBOXES
from .middleware import REQUEST_ID, allow_origin
from .voice import AsItCame, Voice

_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def answer_model(request: web.Request, call: Call, voice: Voice | None = None, *others: str) -> web.StreamResponse:
    """As ``answer``, for the LLM of the call's name, else behind that alias, else as the agent ``agent/<name>``;
    else the same for each of the ``others``. Aliases are looked up only when there is no such name: that costs
    the usual case nothing."""
    unknown: UnknownLLM | None = None
    for name in (call.llm, *others):
        try:
            persona = await request.app[STORE].agents.persona(name)
            if persona:
                return await _answer_as(request, call, persona, voice)
            return await answer(request, structs.replace(call, llm=name), voice)
        except UnknownLLM as refusal:
            unknown = unknown or refusal
            llm = await request.app[STORE].rows.behind_alias(name)
        if llm is not None:
            return await answer(request, structs.replace(call, llm=llm.name), voice)
    raise unknown


async def _answer_as(request: web.Request, call: Call, persona: Persona, voice: Voice | None) -> web.StreamResponse:
    """As ``answer``, by the LLM of an agent, with what the agent adds to the call and, if it has tools, in the loop in
    which it uses them. Raises BadRequest."""
    if call.operation != "chat" and not call.words:
        raise BadRequest(f"{persona.agent!r} is an agent, which only chats: it has no {call.operation}.", param="model")
    if has_tools(persona):
        app, limits = request.app, request.app[LIMITS]
        looped = Looped(
            app[RELAY], app[POST], app[TOOLBOXES], persona, call.llm,
            max_iterations=limits.max_iterations, answer_bytes=limits.result_bytes,
        )
        # Its tools are used in OpenAI's words, whatever the LLM speaks.
        return await answer(request, structs.replace(call.said(native=False), llm=persona.llm), voice, looped)
    if call.words:
        call = structs.replace(call, llm=persona.llm, words=call.words.by(persona))
    else:
        call = structs.replace(call, llm=persona.llm, body=as_persona(call.body, persona))
    try:
        return await answer(request, call, voice)
    except UnknownLLM:
        raise AgentLLMMissing(f"The LLM {persona.llm!r} of the agent {persona.agent!r} is gone.") from None


async def answer(
    request: web.Request, call: Call, voice: Voice | None = None, relay: Relay | Looped | None = None
) -> web.StreamResponse:
    """Relays a call and writes its reply. Raises the Refusal when nothing was written yet."""
    voice = voice or AsItCame()
    relay = relay or request.app[RELAY]
    metrics = request.app[METRICS]
    exchange = await relay.begin(call, request[ID])
    reason = "client gone"
    try:
        voice = voice.begin(exchange)
        response = await (_stream(request, relay, exchange, voice) if call.streaming else _whole(request, exchange, voice))
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


async def _whole(request: web.Request, exchange: Exchange, voice: Voice) -> web.Response:
    body = await _collect(request, exchange)
    head, body = voice.whole(exchange.head or Head(200), body)
    return web.Response(body=body, status=head.status, headers=head.headers)


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


async def _stream(request: web.Request, relay: Relay | Looped, exchange: Exchange, voice: Voice) -> web.StreamResponse:
    limits = request.app[LIMITS]
    comments = request.headers.get("X-Wait-Comments", "").lower() != "off"
    wait_s = limits.comment_first_s if comments else None
    response: web.StreamResponse | None = None
    try:
        while True:
            data = await exchange.next(wait_s)
            if data is None:
                response = response or await _open(request, voice.head(Head(200)))
                await response.write(voice.wait())
                wait_s = limits.comment_every_s
                continue
            head = exchange.head
            if head is not None and not _is_said_in_pieces(head, voice, begun=response is not None):
                body = await _collect(request, exchange, data)
                if response is None and not (voice.translates and head.status < 400):
                    head, body = voice.whole(head, body)
                    return web.Response(body=body, status=head.status, headers=head.headers)
                last = voice.whole_in_stream(head, body)
                response = response or await _open(request, voice.head(head))
                await response.write_eof(last)
                return response
            said = voice.say(data) if data else b""
            if exchange.done:
                said += voice.end()
            response = response or await _open(request, voice.head(head or Head(200)))
            wait_s = limits.comment_every_s if comments else None
            if exchange.done:
                await response.write_eof(said)
                return response
            if said:
                await response.write(said)
    except Refusal as refusal:
        if response is None:
            raise
        exchange.refused = refusal.code
        # The publisher hears why at once, however slowly the client reads the rest.
        relay.end(exchange, refusal.code)
        await response.write_eof(voice.fail(refusal.status, refusal.shape()["error"]))
        return response


def _is_said_in_pieces(head: Head, voice: Voice, *, begun: bool) -> bool:
    """Whether a reply with that head goes on as it arrives, or is to be read to its end first."""
    if head.status >= 400 and (begun or voice.translates):
        return False
    return head.headers.get("content-type", "text/event-stream").startswith("text/event-stream")


async def _open(request: web.Request, head: Head) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status, headers={**head.headers, **_STREAM_HEADERS})
    if "content-type" not in head.headers:
        response.headers["Content-Type"] = "text/event-stream; charset=utf-8"
    response.headers[REQUEST_ID] = request[ID]
    allow_origin(request, response, request.headers.get("Origin", ""))
    await response.prepare(request)
    return response
