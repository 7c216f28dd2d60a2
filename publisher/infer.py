"""One infer task: the broker's request to the backend, the backend's answer back.

The answer is passed on as it was said: status, content type, body, every event.
Of the request only ``model`` is set; no other value is touched. How a task ends
early (cancel, deadline) is not decided here: its asyncio task is cancelled, and
closing the answer closes the backend's connection, which stops its work.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable

import aiohttp
import msgspec

from broker.wire import Frame
from publisher.backoff import Backoff
from publisher.client import Broker, Refused, Unavailable
from publisher.endpoint import Endpoint
from publisher.failures import TOO_DEEP, BackendBroken, BackendUnreachable, TaskFailed, WakeFailed
from publisher.outgoing import Outgoing
from publisher.sse import DONE, EventReader, EventTooLarge, end_of_done

log = logging.getLogger("publisher")

BODY_BYTES = 64 << 20
EVENT_BYTES = 16 << 20
PASSED_HEADERS = ("content-type", "retry-after")
HEAD_ALONE_S = 0.005
TAIL_S = 0.5  # for the end of a body after [DONE], so that its connection can serve again

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


async def infer(frame: Frame, endpoint: Endpoint, out: Outgoing, broker: Broker, retry: Backoff) -> None:
    body = with_model(await _request(frame, broker, retry), endpoint.model_json)
    async with endpoint.slots:
        answer = await _answer(frame, endpoint, body)
        try:
            if frame.streaming and answer.status < 300 and answer.content_type == "text/event-stream":
                await _pass_stream(answer, out)
            else:
                await _pass_whole(answer, out)
        finally:
            answer.close()  # after a complete body this does nothing: the connection is back in its pool


def with_model(request: bytes | msgspec.Raw, model_json: msgspec.Raw) -> bytes:
    try:
        fields = _decode(request)
    except RecursionError:
        raise TaskFailed(TOO_DEEP, "invalid_request") from None
    except msgspec.MsgspecError:
        raise TaskFailed("the request is not a JSON object", "invalid_request") from None
    fields["model"] = model_json
    return _encode(fields)


async def _request(frame: Frame, broker: Broker, retry: Backoff) -> bytes | msgspec.Raw:
    """The request itself. A broker that is away is asked again until the task's deadline."""
    if not frame.request_url:
        return frame.request
    while True:
        try:
            return await broker.request_body(frame.request_url)
        except Unavailable as err:
            log.warning("task %s: the request is not fetched yet: %s; trying again", frame.task_id, err)
        except Refused as err:
            raise TaskFailed(f"the request could not be fetched from the broker: {err}") from None
        await asyncio.sleep(retry.next_s())


async def _answer(frame: Frame, endpoint: Endpoint, body: bytes) -> aiohttp.ClientResponse:
    """The backend's answer. A backend that is down is woken, once, if there is a recipe."""
    try:
        return await endpoint.backend.infer(frame.operation, body, frame.streaming)
    except BackendUnreachable:
        if endpoint.wake is None:
            raise
    try:
        await endpoint.wake.up()
        endpoint.misses = 0
        return await endpoint.backend.infer(frame.operation, body, frame.streaming)
    except (WakeFailed, BackendUnreachable) as err:
        endpoint.misses += 2  # certainly down: once idle, the broker is told
        raise WakeFailed(str(err)) from None


async def _pass_whole(answer: aiohttp.ClientResponse, out: Outgoing) -> None:
    parts, size = [], 0
    with _broken("backend closed the connection in the middle of its answer"):
        while part := await answer.content.readany():
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES:
                raise BackendBroken(f"the backend's answer is larger than {BODY_BYTES >> 20} MiB")
    out.answer(answer.status, _headers(answer), b"".join(parts))


async def _pass_stream(answer: aiohttp.ClientResponse, out: Outgoing) -> None:
    say_head = functools.partial(out.head, answer.status, _headers(answer))
    # The head rides with the first words, unless those take their time.
    alone = asyncio.get_running_loop().call_later(HEAD_ALONE_S, say_head)
    try:
        with out.streaming():
            await _pass_events(answer, out, say_head)
    finally:
        alone.cancel()


async def _pass_events(answer: aiohttp.ClientResponse, out: Outgoing, say_head: Callable[[], None]) -> None:
    content, events = answer.content, EventReader(EVENT_BYTES)
    with _broken("backend closed the stream in the middle of its answer"):
        while data := await content.readany():
            block = events.feed(data)
            if block:
                say_head()
                if end := end_of_done(block):
                    out.events(_text(block[:end], out), done=True)
                    await _read_tail(content)
                    return
                out.events(_text(block, out))
                if out.crowded:
                    await out.room()
    rest = events.rest()
    if events.torn:
        raise BackendBroken("backend closed the stream in the middle of an event")
    say_head()
    end = end_of_done(rest)
    out.events(_text(rest[:end] if end else rest + DONE, out), done=True)


async def _read_tail(content: aiohttp.StreamReader) -> None:
    if content.at_eof():
        return
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(TAIL_S):
            while await content.readany():
                pass


@contextlib.contextmanager
def _broken(what: str):
    try:
        yield
    except EventTooLarge:
        raise BackendBroken(f"the backend sent an event larger than {EVENT_BYTES >> 20} MiB") from None
    except (aiohttp.ClientError, OSError) as err:
        raise BackendBroken(f"{what} ({type(err).__name__})") from None


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    given = answer.headers
    return {name: given[name] for name in PASSED_HEADERS if name in given}


def _text(block: bytes, out: Outgoing) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError:
        log.warning("task %s: the backend sent bytes that are not UTF-8; they are replaced", out.task_id)
        return block.decode(errors="replace")
