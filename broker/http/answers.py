"""An exchange's reply, written to the client: whole, or as a stream, in the voice of its front.

Once the first byte or comment is out the status is committed: a later refusal is
said in the stream, never silence.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from aiohttp import web
from msgspec import structs

from broker.chat.block import as_persona
from broker.chat.looped import Looped, has_tools
from broker.errors import AgentLLMMissing, BackendFailed, BadRequest, PublisherOffline, Refusal, StoreUnavailable
from broker.model import Persona
from broker.relay.call import Call
from broker.relay.exchange import Exchange
from broker.relay.parts import Head
from broker.relay.pooled import Pooled
from broker.relay.relay import Relay
from broker.store.pools import Choice
from broker.unknown import UnknownLLM

from .context import BEFORE_END, ID, LIMITS, MARKS, METRICS, PLACE, POST, RELAY, STORE, TOOLBOXES
from .conversations import conversation
from .lookup import with_near_names
from .middleware import REQUEST_ID, allow_origin
from .voice import AsItCame, Numbered, Voice

_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def answer_model(request: web.Request, call: Call, voice: Voice | None = None, *others: str) -> web.StreamResponse:
    """As ``answer``, by the LLM of the call's name, else by whoever the pool of that name chooses (an alias, a pool, a
    model), else as the agent ``agent/<name>``; else the same for each of the ``others``. Pools are looked up only when
    there is no such LLM: that costs the usual case nothing."""
    unknown: UnknownLLM | None = None
    for name in (call.llm, *others):
        asked = structs.replace(call, llm=name)
        try:
            persona = await request.app[STORE].agents.persona(name)
            if persona:
                return await _answer_as(request, asked, persona, voice)
            return await answer(request, asked, voice)
        except UnknownLLM as refusal:
            unknown = unknown or refusal
        with suppress(UnknownLLM):
            only = await request.app[STORE].rows.only_one(name) if call.words else ""
            if only:
                # Nothing to choose, so it may be asked in the client's own words.
                return await answer(request, structs.replace(asked, llm=only), voice, tell_who=True)
            return await answer_pooled(request, asked, voice)
    raise await with_near_names(request, call.llm, unknown)


async def _answer_as(request: web.Request, call: Call, persona: Persona, voice: Voice | None) -> web.StreamResponse:
    """As ``answer``, by the LLM of an agent or whoever has its model, with what the agent adds to the call and, if it has
    tools, in the loop in which it uses them. Raises BadRequest."""
    if call.operation != "chat" and not call.words:
        raise BadRequest(f"{persona.agent!r} is an agent, which only chats: it has no {call.operation}.", param="model")
    if has_tools(persona):
        app, limits = request.app, request.app[LIMITS]
        looped = Looped(
            app[RELAY], app[POST], app[TOOLBOXES], persona, call.llm,
            max_iterations=limits.max_iterations, answer_bytes=limits.result_bytes,
        )
        # Its tools are used in OpenAI's words, whatever the LLM speaks; a loop is no one reply that could be kept.
        return await answer(request, structs.replace(call.said(native=False), llm=persona.llm, keep=None), voice, looped)
    if call.words:
        call = structs.replace(call, llm=persona.model or persona.llm, words=call.words.by(persona))
    else:
        call = structs.replace(call, llm=persona.model or persona.llm, body=as_persona(call.body, persona))
    try:
        if persona.model:
            return await answer_pooled(request, call, voice, kinds="pm")
        return await answer(request, call, voice)
    except UnknownLLM:
        if not persona.model:
            raise AgentLLMMissing(f"The LLM {persona.llm!r} of the agent {persona.agent!r} is gone.") from None
        raise PublisherOffline(
            f"No LLM with the model {persona.model!r}, which the agent {persona.agent!r} asks for, is there right now."
        ) from None


async def answer_pooled(request: web.Request, call: Call, voice: Voice | None = None, *, kinds: str = "apm") -> web.StreamResponse:
    """As ``answer``, by whoever the pool of the call's name chooses; ``kinds`` as ``Choice`` has them. Raises UnknownLLM when
    there is no such pool."""
    app = request.app
    call = call.said(native=False)
    patience = replace(call.patience, first_byte_s=app[LIMITS].pool_first_byte_s)
    choice = Choice(request[ID], conversation(request, call.operation, call.body), kinds=kinds)
    call = structs.replace(call, patience=patience, choice=choice)
    exchange = await Pooled.begin(app[RELAY], app[STORE].pools, app[POST], call)
    return await written(request, exchange, _voice_of(call, voice), call.operation, streaming=call.streaming)


async def answer(
    request: web.Request, call: Call, voice: Voice | None = None, relay: Relay | Looped | None = None, *, tell_who: bool = False
) -> web.StreamResponse:
    """Relays a call and writes its reply; ``tell_who``: with the LLM's name. Raises the Refusal when nothing was written yet."""
    relay = relay or request.app[RELAY]
    exchange = await relay.begin(call, request[ID])
    if tell_who:
        exchange.marks["X-Served-By"] = call.llm
    return await written(request, exchange, _voice_of(call, voice), call.operation, streaming=call.streaming, relay=relay)


def _voice_of(call: Call, voice: Voice | None) -> Voice:
    return voice or (Numbered() if call.keep and call.keep.numbered else AsItCame())


async def written(
    request: web.Request, exchange: Exchange, voice: Voice, operation: str, *, streaming: bool, begun: bool = False,
    relay: Relay | Looped | None = None,
) -> web.StreamResponse:
    """Writes an exchange's reply, and ends the exchange. ``begun``: its client has the head of that stream already. Raises
    the Refusal when nothing was written yet."""
    relay = relay or request.app[RELAY]
    metrics = request.app[METRICS]
    request[MARKS] = exchange.marks
    if exchange.place:
        request[PLACE] = (exchange.place, exchange.place_s)
    reason, why = "client gone", None
    try:
        voice = voice.begin(exchange)
        response = await (_stream(request, relay, exchange, voice, begun) if streaming else _whole(request, exchange, voice))
        metrics.relayed(operation, exchange.refused or "ok", exchange)
        return response
    except Refusal as refusal:
        reason, why = refusal.code, refusal
        metrics.relayed(operation, refusal.code, exchange)
        raise
    except asyncio.CancelledError:
        slow = exchange.overflow()
        reason = slow.code if slow else reason
        metrics.relayed(operation, slow.code if slow else "client_gone", exchange)
        raise
    except ConnectionError:
        metrics.relayed(operation, "client_gone", exchange)
        raise
    finally:
        relay.end(exchange, reason, refusal=why)


async def _whole(request: web.Request, exchange: Exchange, voice: Voice) -> web.Response:
    body = await _collect(request, exchange)
    head, body = voice.whole(exchange.head or Head(200), body)
    return web.Response(body=body, status=head.status, headers={**head.headers, **_ours(request)})


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


async def _stream(
    request: web.Request, relay: Relay | Looped, exchange: Exchange, voice: Voice, begun: bool
) -> web.StreamResponse:
    limits = request.app[LIMITS]
    comments = request.headers.get("X-Wait-Comments", "").lower() != "off"
    wait_s = limits.comment_first_s if comments else None
    response: web.StreamResponse | None = await _open(request, voice.head(Head(200))) if begun else None
    try:
        while True:
            data = await exchange.next(wait_s)
            if data is None:
                await _look_at_line(request, exchange)
                response = response or await _open(request, voice.head(Head(200)))
                await response.write(voice.wait())
                wait_s = limits.comment_every_s
                continue
            head = exchange.head
            if head is not None and not _is_said_in_pieces(head, voice, begun=response is not None):
                body = await _collect(request, exchange, data)
                if response is None and not (voice.translates and head.status < 400):
                    head, body = voice.whole(head, body)
                    return web.Response(body=body, status=head.status, headers={**head.headers, **_ours(request)})
                last = voice.whole_in_stream(head, body)
                response = response or await _open(request, voice.head(head))
                await _close(request, response, last)
                return response
            said = voice.say(data) if data else b""
            if exchange.done:
                said += voice.end()
            response = response or await _open(request, voice.head(head or Head(200)))
            wait_s = limits.comment_every_s if comments else None
            if exchange.done:
                await _close(request, response, said)
                return response
            if said:
                await response.write(said)
    except Refusal as refusal:
        if response is None:
            raise
        exchange.refused = refusal.code
        # The publisher hears why at once, however slowly the client reads the rest.
        relay.end(exchange, refusal.code, refusal=refusal)
        await _close(request, response, voice.fail(refusal.status, refusal.shape()["error"]))
        return response


async def _look_at_line(request: web.Request, exchange: Exchange) -> None:
    """Where a request stands now that was in a line; while Redis is away, where it stood last."""
    if not exchange.place:
        return
    with suppress(StoreUnavailable):
        standing = await request.app[STORE].tasks.look(exchange.task)
        exchange.place, exchange.place_s = (standing.place, standing.seconds) if standing else (0, 0)


def _ours(request: web.Request) -> dict[str, str]:
    """What an answer's head says besides: of the line that the request waited in, and of the reply if it is kept."""
    marks = request[MARKS]
    if PLACE not in request:
        return marks
    place, place_s = request[PLACE]
    return {"X-Queue-Position": str(place), "X-Estimated-Wait-Seconds": str(place_s), **marks}


def _is_said_in_pieces(head: Head, voice: Voice, *, begun: bool) -> bool:
    """Whether a reply with that head goes on as it arrives, or is to be read to its end first."""
    if head.status >= 400 and (begun or voice.translates):
        return False
    return head.headers.get("content-type", "text/event-stream").startswith("text/event-stream")


async def _open(request: web.Request, head: Head) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status, headers={**head.headers, **_STREAM_HEADERS, **_ours(request)})
    if "content-type" not in head.headers:
        response.headers["Content-Type"] = "text/event-stream; charset=utf-8"
    response.headers[REQUEST_ID] = request[ID]
    allow_origin(request, response, request.headers.get("Origin", ""))
    await response.prepare(request)
    return response


async def open_events(request: web.Request) -> web.StreamResponse:
    """The head of a stream that is none of one exchange alone."""
    request[MARKS] = {}
    return await _open(request, Head(200))


async def _close(request: web.Request, response: web.StreamResponse, last: bytes) -> None:
    """The last bytes of a stream, when what they promise is done."""
    if BEFORE_END in request:
        await request[BEFORE_END]()
    await response.write_eof(last)
