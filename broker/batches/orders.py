"""One line of a batch, read: what it asks for, as a job is given it. A line that makes no sense is refused by itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from broker.dialects import responses_request
from broker.dialects.anthropic_request import Untranslatable
from broker.dialects.responses_answer import begun
from broker.dialects.responses_items import items_of

#: What can be asked line by line, and the operation that it is.
ENDPOINTS = {
    "/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "chat",
}


class Order(NamedTuple):
    """``response``: of a line for /v1/responses, the response as it begins."""

    number: int
    custom_id: str
    target: str
    operation: str
    body: bytes
    response: dict[str, Any] | None = None


class LineRefused(Exception):
    """A line that is no request; the text says why. ``custom_id`` '': it has none."""

    def __init__(self, code: str, message: str, custom_id: str = ""):
        super().__init__(message)
        self.code = code
        self.custom_id = custom_id


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None


class _Named(msgspec.Struct):
    custom_id: str = ""


_line = msgspec.json.Decoder(_Line).decode
_body = msgspec.json.Decoder(_Body).decode
_named = msgspec.json.Decoder(_Named).decode


def read_order(batch: str, number: int, text: bytes | None, endpoint: str) -> Order:
    """Raises LineRefused."""
    if text is None:
        raise LineRefused("line_too_long", f"line {number} is longer than a request may be")
    try:
        text.decode()
        line = _line(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LineRefused("invalid_line", f"line {number} is no request of a batch: {error}"[:300], custom_id_of(text)) from None
    if not line.custom_id or len(line.custom_id) > 512:
        raise LineRefused("invalid_line", f"line {number}: custom_id has from 1 to 512 characters")
    if line.method != "POST" or line.url != endpoint:
        message = f"line {number}: method and url are POST {endpoint}, as the batch's endpoint"
        raise LineRefused("mismatched_endpoint", message, line.custom_id)
    try:
        body = _body(line.body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise LineRefused("invalid_body", f"line {number}: the body is no request: {error}"[:300], line.custom_id) from None
    if body.stream:
        raise LineRefused("invalid_body", f"line {number}: a batch streams nothing; leave `stream` out", line.custom_id)
    if endpoint == "/v1/responses":
        return _for_responses(batch, number, line, body.model)
    return Order(number, line.custom_id, body.model, ENDPOINTS[endpoint], bytes(line.body))


def custom_id_of(text: bytes) -> str:
    """As far as it can be made out."""
    try:
        return _named(text).custom_id[:512]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _for_responses(batch: str, number: int, line: _Line, model: str) -> Order:
    response = f"resp_{batch.removeprefix('batch_')}_{number}"
    try:
        asked = responses_request.read(bytes(line.body))
        if asked.previous_response_id or asked.background:
            raise Untranslatable("a batch keeps no responses: previous_response_id and background mean nothing in it", "body")
        asked.store = False
        body = responses_request.chat_of(asked, [], items_of(asked.input, response))
    except Untranslatable as why:
        raise LineRefused("invalid_body", f"line {number}: {why}"[:300], line.custom_id) from None
    return Order(number, line.custom_id, model, "chat", body, begun(asked, response=response, created_s=None))
