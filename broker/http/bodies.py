"""Bodies in, replies out: bounded in bytes and in time, errors that say what to do."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web

from broker.errors import BadRequest, Refusal, RequestTimeout, TooLarge

T = TypeVar("T")

JSON = "application/json"
#: A body that keeps coming may take longer than the limit, if it comes at least so fast.
BYTES_PER_S = 8 << 10


class UnsupportedEncoding(Refusal):
    """Send the body as it is: compressed request bodies are not accepted."""

    status = 415
    code = "unsupported_encoding"


async def read_body(request: web.Request, limit: int, within_s: float) -> bytes:
    """The request's body. Raises TooLarge, RequestTimeout, UnsupportedEncoding."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedEncoding()
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    content = request.content
    chunks: list[bytes] = []
    size = 0
    try:
        if content.is_eof() and content.total_bytes <= limit:
            # It came together with its head, as most do: nothing to wait for.
            return content.read_nowait()
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(within_s) as limit_s:
            while chunk := await content.readany():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
                limit_s.reschedule(began + within_s + size / BYTES_PER_S)
    except TimeoutError:
        raise RequestTimeout(f"The request's body did not arrive within {within_s:g} s.") from None
    except web.HTTPException:
        raise
    except Exception as error:
        if isinstance(error, Refusal):
            raise
        raise BadRequest("The request's body broke off or is not valid HTTP.") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decode(body: bytes, kind: type[T]) -> T:
    """A body as ``kind``. Raises BadRequest naming the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(describe(error)) from None


def describe(error: Exception) -> str:
    """What is wrong with a JSON text, for the person who sent it."""
    if isinstance(error, RecursionError):
        return "The body is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return f"The body is not UTF-8 (byte {error.start})."
    text = str(error).replace(" - at `$", " at `").replace("at `.", "at `")
    return f"The body is not valid: {text[0].lower()}{text[1:]}"


def reply(content: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type=JSON)


def refusal_reply(refusal: Refusal) -> web.Response:
    """A refusal in the API's error shape."""
    response = reply(refusal.shape(), refusal.status)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.should_retry is not None:
        response.headers["X-Should-Retry"] = "true" if refusal.should_retry else "false"
    return response


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit:,} bytes.")
