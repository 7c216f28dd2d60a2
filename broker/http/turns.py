"""``/api/v1/threads/<id>/turns``: begun, read, followed, cancelled.

A turn is its thread's: it goes on when the client that began it leaves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from broker.chat.block import CALLERS_OWN
from broker.chat.turns import Asked
from broker.chat_errors import UnknownThread, UnknownTurn
from broker.errors import BadRequest, Unprocessable
from broker.model import Ref

from .bodies import decode, reply
from .calls import patience_of, priority_of, read_request
from .context import ID, LIMITS, PRINCIPAL, STORE, TURNS
from .edits import named
from .turn_stream import TURN_INDEX, tell_from, tell_live

#: What a turn's own parameters cannot be: the loop decides them, or could not answer.
_NOT_PARAMS = (*CALLERS_OWN, "tools", "functions", "n")
_MOST_ITERATIONS = 32
#: How long DELETE waits for the end that it asked for.
_CANCEL_S = 2.0


class TurnAsked(msgspec.Struct, rename="camel"):
    """What a user says. ``content``: a text, or OpenAI's content parts."""

    content: Raw | UnsetType = UNSET
    stream: bool = False
    personality: Ref | str | None | UnsetType = UNSET
    params: dict[str, Raw] = {}
    max_iterations: int | UnsetType = UNSET


class _Part(msgspec.Struct):
    type: str


_FIELDS = {field.encode_name for field in msgspec.structs.fields(TurnAsked)}


async def begin_turn(request: web.Request) -> web.StreamResponse:
    asked = await _read(request)
    turn = await request.app[TURNS].start(asked)
    if asked.streaming:
        return await tell_live(request, turn)
    await turn.ended.wait()
    if turn.shown is None:
        raise turn.refusal
    response = reply(turn.shown)
    response.headers[TURN_INDEX] = str(turn.number)
    return response


async def get_turn(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].threads.turn(_thread(request), request[PRINCIPAL].owner, _number(request)))


async def follow_turn(request: web.Request) -> web.StreamResponse:
    text = request.query.get("after") or request.headers.get("Last-Event-ID") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Unprocessable("`after`, or Last-Event-ID, is the id of an event of this turn: a number.", param="after")
    return await tell_from(request, _thread(request), _number(request), int(text))


async def cancel_turn(request: web.Request) -> web.Response:
    """204 when it has ended, or will within a second."""
    thread, number, owner = _thread(request), _number(request), request[PRINCIPAL].owner
    store = request.app[STORE]
    token = await store.turns.cancel(thread, owner, number)
    if token:
        if turn := request.app[TURNS].turn(token):
            turn.hear_of("cancelled")
        loop = asyncio.get_running_loop()
        until = loop.time() + _CANCEL_S
        with suppress(UnknownThread):
            while loop.time() < until and (await store.threads.thread(thread, owner)).running == number:
                await asyncio.sleep(0.05)
    return web.Response(status=204)


def _thread(request: web.Request) -> str:
    return request.match_info["thread"]


def _number(request: web.Request) -> int:
    text = request.match_info["turn"]
    if len(text) > 9:
        raise UnknownTurn(f"No thread has a turn {text[:20]}….")
    return int(text)


async def _read(request: web.Request) -> Asked:
    """Raises BadRequest, Unprocessable, TooLarge."""
    body = await read_request(request)
    asked = decode(body, TurnAsked)
    unknown = sorted(set(decode(body, dict[str, Raw])) - _FIELDS)
    if unknown:
        raise Unprocessable(f"A turn has no field `{unknown[0][:100]}`.", param=unknown[0][:100])
    for name in _NOT_PARAMS:
        if name in asked.params:
            raise Unprocessable(f"`params` of a turn cannot set `{name}`.", param="params")
    limits = request.app[LIMITS]
    iterations = limits.max_iterations if asked.max_iterations is UNSET else asked.max_iterations
    if not 1 <= iterations <= _MOST_ITERATIONS:
        raise Unprocessable(f"`maxIterations` is a number from 1 to {_MOST_ITERATIONS}.", param="maxIterations")
    return Asked(
        thread=_thread(request), owner=request[PRINCIPAL].owner, request_id=request[ID], content=_content(body, asked),
        streaming=asked.stream, personality=None if asked.personality is UNSET else named(asked.personality),
        params=asked.params, max_iterations=iterations, patience=patience_of(request, limits),
        buffer_bytes=limits.patience.buffer_bytes, priority=priority_of(request), may_wake=request[PRINCIPAL].may_wake,
    )


def _content(body: bytes, asked: TurnAsked) -> bytes:
    """The content as it came, which is one that there is. Raises BadRequest, Unprocessable."""
    content = b"" if asked.content is UNSET else bytes(asked.content)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    try:
        given = msgspec.json.decode(content or b'""', type=str | list[_Part])
    except (msgspec.MsgspecError, RecursionError):
        given = ""
    if not given:
        raise Unprocessable(
            "`content` is what the user says: a text that is not empty, or a list of content parts, each with a `type`.",
            param="content",
        )
    return content
