"""An upstream's answer, handed to the exchange that waits for it, as it arrives.

Whole answers pass as bytes; of a stream only whole ``data:`` events pass, as from
a publisher. An answer that breaks off ends with an error, never silently.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp

from broker.dialects.broken import BrokenAnswer
from broker.dialects.response import Bytes, Response
from broker.dialects.sse import EventReader, EventTooLarge, end_of_done
from broker.relay.exchange import Exchange
from broker.relay.inbound import kept_headers
from broker.relay.parts import DONE, failure, head, part

EVENT_BYTES = 16 << 20
REFUSAL_BYTES = 1 << 20
TAIL_S = 0.5  # for the end of a body after [DONE], so that its connection can serve again
_LENGTHS = ("Content-Length", "Transfer-Encoding")


async def hand_over(answer: Response, exchange: Exchange, *, streaming: bool, endless: bool, key: str) -> None:
    """``endless``: only its closing would end the body, as if a server that was killed were done. ``key`` is
    taken out of refusals, should the upstream repeat it."""
    try:
        if 300 <= answer.status < 400:
            exchange.put(_broken(f"redirects ({answer.status}): set `url` to where it really is"))
        elif answer.status >= 400:
            await _refused(answer, exchange, key)
        elif streaming and answer.content_type == "text/event-stream":
            await _events(answer.content, exchange, endless, head(answer.status, kept_headers(answer.headers)))
        else:
            exchange.put(head(answer.status, kept_headers(answer.headers, whole=True)))
            while data := await answer.content.readany():
                exchange.put(part(b"C", data))
            exchange.put(DONE)
    except EventTooLarge:
        exchange.put(_broken(f"sent an event larger than {EVENT_BYTES >> 20} MiB"))
    except BrokenAnswer as error:
        exchange.put(failure(502, "backend_error", str(error)))
    except (aiohttp.ClientError, OSError):
        exchange.put(_broken("closed the connection in the middle of its answer"))


async def _refused(answer: Response, exchange: Exchange, key: str) -> None:
    pieces, size = [], 0
    while size < REFUSAL_BYTES and (data := await answer.content.readany()):
        pieces.append(data)
        size += len(data)
    body = b"".join(pieces)
    if key:
        body = body.replace(key.encode(), b"***")
    exchange.put(head(answer.status, kept_headers(answer.headers, whole=True)) + part(b"C", body) + DONE)


async def _events(content: Bytes, exchange: Exchange, endless: bool, unsaid: bytes) -> None:
    """``unsaid``: the head, which rides with the first event. What fails before that has a status of its own."""
    reader = EventReader(EVENT_BYTES)
    while data := await content.readany():
        block = reader.feed(data)
        if end := end_of_done(block):
            exchange.put(unsaid + part(b"C", block[:end]) + DONE)
            await _read_tail(content)
            return
        if block:
            exchange.put(unsaid + part(b"C", block))
            unsaid = b""
    rest = reader.rest()
    end = end_of_done(rest)
    words = part(b"C", rest[:end] if end else rest) if rest else b""
    if not end and (reader.torn or endless):
        exchange.put((unsaid + words if words else b"") + _broken("closed the connection in the middle of its answer"))
    else:
        exchange.put(unsaid + words + DONE)


async def _read_tail(content: Bytes) -> None:
    if content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(TAIL_S):
            while await content.readany():
                pass


def is_endless(answer: aiohttp.ClientResponse) -> bool:
    return not any(name in answer.headers for name in _LENGTHS)


def _broken(what: str) -> bytes:
    return failure(502, "backend_error", f"the upstream {what}")
