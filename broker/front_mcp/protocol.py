"""A client's MCP message, read, and what is answered: JSON-RPC over one POST, of every revision that the SDK speaks.

The SDK decides what a message means; here is what it leaves to a transport: the envelope, and which HTTP status an
answer has. No message needs another one before it, so none is remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import anyio
import msgspec
from mcp.server.connection import Connection
from mcp.server.runner import serve_one
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS, InboundLadderRejection, classify_inbound_request, find_duplicated_routing_header,
    unsupported_protocol_version_rejection,
)
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp.types import (
    DEFAULT_NEGOTIATED_VERSION, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, ErrorData,
    JSONRPCNotification, JSONRPCRequest,
)
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

from .asking import Asking
from .server import make_server

log = logging.getLogger(__name__)

VERSION_HEADER = "mcp-protocol-version"
_encode = msgspec.json.Encoder().encode
_server = cache(make_server)


class Reply(NamedTuple):
    """What is answered; nothing but the status for a message that is no request."""

    status: int
    body: bytes = b""


class Request(NamedTuple):
    """A request, ready to be served. ``old``: of a revision that opens with a handshake, which knows no status but 200."""

    id: str | int
    method: str
    params: dict[str, Any] | None
    connection: Connection
    old: bool

    def progress(self, number: int, doing: str) -> bytes:
        """That the work goes on, for a client that asked to be told; empty for one that did not."""
        token = progress_token_from_params(self.params)
        if token is None:
            return b""
        told = {"progressToken": token, "progress": number, "message": doing}
        return _encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})


def read(body: bytes, headers: list[tuple[str, str]]) -> Request | Reply:
    """The request in a POST; a Reply when there is none, or none that could be served."""
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refusal(None, PARSE_ERROR, "The body is not JSON.", status=400)
    named = {name.lower(): value for name, value in reversed(headers)}
    version = named.get(VERSION_HEADER)
    old = version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
    try:
        if isinstance(message, dict) and "id" not in message:
            JSONRPCNotification.model_validate(message)
            rejection = None if old else unsupported_protocol_version_rejection(version)
            return _rejected(None, rejection) if rejection else Reply(202)
        request = JSONRPCRequest.model_validate(message)
    except ValidationError:
        return _refusal(None, INVALID_REQUEST, "The body is no JSON-RPC request or notification, or more than one.", status=400)
    if old:
        connection = Connection.from_envelope(version or DEFAULT_NEGOTIATED_VERSION, None, None)
        return Request(request.id, request.method, request.params, connection, old)
    if twice := find_duplicated_routing_header(headers):
        return _refusal(request.id, HEADER_MISMATCH, f"The header {twice} is there more than once.", status=400)
    route = classify_inbound_request(message, headers=named)
    if isinstance(route, InboundLadderRejection):
        return _rejected(request.id, route)
    connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
    return Request(request.id, request.method, request.params, connection, old)


async def serve(request: Request, asking: Asking) -> Reply:
    """Does what a request asks for."""
    try:
        result = await serve_one(
            _server(), _Around(request.id, asking), request.method, request.params,
            connection=request.connection, lifespan_state=None,
        )
    except Exception as error:
        told = handler_exception_to_error_data(error)
        if told is None:
            log.exception("bug", extra={"method": request.method})
            told = ErrorData(code=INTERNAL_ERROR, message="The broker made a mistake; its log says more.")
        status = 200 if request.old else ERROR_CODE_HTTP_STATUS.get(told.code, 200)
        return _refusal(request.id, told.code, told.message, told.data, status=status)
    return Reply(200, _encode({"jsonrpc": "2.0", "id": request.id, "result": result}))


class _Around:
    """What the SDK finds around a request. Clients are sent nothing but its answer from here."""

    can_send_request = False
    transport = TransportContext(kind="streamable-http", can_send_request=False)

    def __init__(self, request_id: str | int, asking: Asking):
        self.request_id = request_id
        self.message_metadata = ServerMessageMetadata(request_context=asking)
        self.cancel_requested = anyio.Event()

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: object = None) -> dict:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: object = None) -> None:
        """Nobody listens: the answer is the only message."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """``Asking.doing`` says it instead."""


def _rejected(request_id: str | int | None, rejection: InboundLadderRejection) -> Reply:
    status = ERROR_CODE_HTTP_STATUS.get(rejection.code, 400)
    return _refusal(request_id, rejection.code, rejection.message, rejection.data, status=status)


def _refusal(request_id: str | int | None, code: int, message: str, data: object = None, *, status: int) -> Reply:
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return Reply(status, _encode({"jsonrpc": "2.0", "id": request_id, "error": error}))
