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
import re
from collections.abc import Callable

import aiohttp
import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.sse import DONE, EventReader, EventTooLarge, end_of_done
from broker.wire import Frame, Usage
from publisher.activity import Request
from publisher.backends.seam import Answer, Bytes
from publisher.link.backoff import Backoff
from publisher.link.client import Broker, Refused, Unavailable
from publisher.published.endpoint import Endpoint
from publisher.failures import TOO_DEEP, BackendBroken, BackendUnreachable, TaskFailed, WakeFailed
from publisher.link.outgoing import Outgoing
from publisher.work.usage import UsageReader, usage_of

log = logging.getLogger("publisher")

BODY_BYTES = 64 << 20
EVENT_BYTES = 16 << 20
PASSED_HEADERS = ("content-type", "retry-after", "request-id")
LENGTH_HEADERS = ("content-length", "transfer-encoding")
FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
HEAD_ALONE_S = 0.005
TAIL_S = 0.5  # for the end of a body after [DONE], so that its connection can serve again

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


async def infer(
    frame: Frame, endpoint: Endpoint, out: Outgoing, told: Request, broker: Broker, retry: Backoff
) -> None:
    try:
        await _infer(frame, endpoint, out, told, broker, retry)
    except asyncio.CancelledError:
        told.ended("cancelled")
        raise
    except TaskFailed as err:
        told.ended(f"failed: {err}")
        raise
    except BaseException as err:
        told.ended(f"failed: {err!r}")
        raise


async def _infer(
    frame: Frame, endpoint: Endpoint, out: Outgoing, told: Request, broker: Broker, retry: Backoff
) -> None:
    body = with_model(await request_of(frame, broker, retry), endpoint.model_json)
    async with endpoint.slots:
        await endpoint.power.ready()
        told.started()
        answer = await _answer(frame, endpoint, body)
        try:
            if answer.status < 200:
                raise BackendBroken(f"backend wants another protocol (status {answer.status}), which nobody asked for")
            if frame.streaming and answer.status < 300 and answer.content_type == "text/event-stream":
                usage = await _pass_stream(answer, out, told)
            else:
                usage = await _pass_whole(answer, out, told)
        finally:
            answer.close()  # after a complete body this does nothing: the connection is back in its pool
    told.ended("ok" if answer.status < 300 else f"backend {answer.status}", usage)


def with_model(request: bytes | msgspec.Raw, model_json: msgspec.Raw) -> bytes:
    try:
        fields = _decode(request)
    except RecursionError:
        raise TaskFailed(TOO_DEEP, "invalid_request") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise TaskFailed("the request is not a JSON object", "invalid_request") from None
    fields["model"] = model_json
    return _encode(fields)


async def request_of(frame: Frame, broker: Broker, retry: Backoff) -> bytes | msgspec.Raw:
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


async def _answer(frame: Frame, endpoint: Endpoint, body: bytes) -> Answer:
    """The backend's answer. A backend that is down is woken, once, if there is a recipe."""
    try:
        return await endpoint.backend.infer(frame.operation, body, frame.streaming, frame.headers)
    except BackendUnreachable:
        if not endpoint.power.can_wake:
            raise
    try:
        await endpoint.power.up()
        endpoint.misses = 0
        return await endpoint.backend.infer(frame.operation, body, frame.streaming, frame.headers)
    except (WakeFailed, BackendUnreachable) as err:
        endpoint.missed()  # certainly down: once idle, the broker is told
        raise WakeFailed(str(err)) from None


async def _pass_whole(answer: Answer, out: Outgoing, told: Request) -> Usage | None:
    parts, size = [], 0
    with _broken("backend closed the connection in the middle of its answer"):
        while part := await answer.content.readany():
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES:
                raise BackendBroken(f"the backend's answer is larger than {BODY_BYTES >> 20} MiB")
    body = b"".join(parts)
    usage = usage_of(body) if answer.status < 300 else None
    told.block(usage.completion_tokens if usage else 0)
    out.answer(answer.status, _headers(answer), body, usage)
    return usage


async def _pass_stream(answer: Answer, out: Outgoing, told: Request) -> Usage | None:
    say_head = functools.partial(out.head, answer.status, _headers(answer))
    # The head rides with the first words, unless those take their time.
    alone = asyncio.get_running_loop().call_later(HEAD_ALONE_S, say_head)
    try:
        with out.streaming():
            return await _pass_events(answer, out, told, say_head)
    finally:
        alone.cancel()


async def _pass_events(answer: Answer, out: Outgoing, told: Request, say_head: Callable[[], None]) -> Usage | None:
    content, events, usage = answer.content, EventReader(EVENT_BYTES), UsageReader()
    # Where only its closing ends an answer, a server that was killed looks as if it were done.
    doubtful = not any(name in answer.headers for name in LENGTH_HEADERS)
    with _broken("backend closed the stream in the middle of its answer"):
        while data := await content.readany():
            block = events.feed(data)
            if block:
                say_head()
                told.block(usage.block(block))
                doubtful = doubtful and not FINISHED.search(block)
                if end := end_of_done(block):
                    out.events(_text(block[:end], out), done=True, usage=usage.found)
                    await _read_tail(content)
                    return usage.found
                out.events(_text(block, out))
                if out.crowded:
                    await out.room()
    rest = events.rest()
    if events.torn:
        raise BackendBroken("backend closed the stream in the middle of an event")
    say_head()
    told.block(usage.block(rest))
    end = end_of_done(rest)
    if doubtful and not end and not FINISHED.search(rest):
        if rest:
            out.events(_text(rest, out))
        raise BackendBroken("backend closed the stream before it said that it was done")
    out.events(_text(rest[:end] if end else rest + DONE, out), done=True, usage=usage.found)
    return usage.found


async def _read_tail(content: Bytes) -> None:
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
    except BrokenAnswer as err:
        raise BackendBroken(str(err)) from None
    except (aiohttp.ClientError, OSError) as err:
        raise BackendBroken(f"{what} ({type(err).__name__})") from None


def _headers(answer: Answer) -> dict[str, str]:
    """In ASCII, as headers are: a byte that is no text would be none in a frame either."""
    given = answer.headers
    return {name: given[name].encode("ascii", "ignore").decode() for name in PASSED_HEADERS if name in given}


def _text(block: bytes, out: Outgoing) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError:
        log.warning("task %s: the backend sent bytes that are not UTF-8; they are replaced", out.task_id)
        return block.decode(errors="replace")
