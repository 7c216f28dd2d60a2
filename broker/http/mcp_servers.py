"""A project's ``mcpServers`` as an admin writes them: which fields there are, and what each may be.

Whether a secret is there is for the store to say. Nothing is connected to here.
"""

from __future__ import annotations

import asyncio
import re

import msgspec
from msgspec import UNSET

from broker.errors import Unprocessable
from broker.library import McpServer
from broker.upstream.guard import Guard

from .names import check_name

_MOST = 32
_TOOLS = 128
_LONGEST = {"url": 2048, "tool": 128}
_LONGEST_S = 600
_NAME = re.compile(r"[a-zA-Z0-9-]{1,32}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
#: Headers that the broker itself writes to such a server.
_OURS = re.compile(r"host|content-.*|transfer-encoding|connection|upgrade|te|trailer|expect|accept.*|mcp-.*|last-event-id", re.IGNORECASE)
_FIELDS = {field.encode_name for field in msgspec.structs.fields(McpServer)}


def read_servers(given: list[dict]) -> list[McpServer]:
    """The servers, each checked. Raises Unprocessable naming the place."""
    if len(given) > _MOST:
        raise Unprocessable(f"`mcpServers` has at most {_MOST} entries.", param="mcpServers")
    servers: list[McpServer] = []
    for index, entry in enumerate(given):
        place = f"mcpServers[{index}]"
        server = _read(place, entry)
        if any(server.name == other.name for other in servers):
            raise Unprocessable(f"{place}.name: {server.name!r} is the name of another one of this project.", param=f"{place}.name")
        servers.append(server)
    return servers


async def check_addresses(servers: list[McpServer], guard: Guard) -> None:
    """Raises Unprocessable for a url that could not be called."""
    await asyncio.gather(*(_check(f"mcpServers[{n}].url", server.url, guard) for n, server in enumerate(servers) if server.url))


async def _check(place: str, url: str, guard: Guard) -> None:
    try:
        await guard.check(url)
    except Unprocessable as refusal:
        raise Unprocessable(f"{place}: {refusal.message}", param=place) from None


def _read(place: str, entry: dict) -> McpServer:
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        names = ", ".join(f"`{name[:100]}`" for name in unknown[:5])
        raise Unprocessable(f"{place} has no field {names}; it may have {', '.join(sorted(_FIELDS))}.", param=f"{place}.{unknown[0][:100]}")
    try:
        server = msgspec.convert(entry, McpServer)
    except msgspec.ValidationError as error:
        raise Unprocessable(f"{place}: {str(error)[0].lower()}{str(error)[1:].replace(' - at `$.', ' at `')}.", param=place) from None
    for field, fault in _faults(server):
        raise Unprocessable(f"{place}.{field}: {fault}", param=f"{place}.{field}")
    if server.tool_server:
        check_name(f"{place}.toolServer", server.tool_server)
    return server


def _faults(server: McpServer):
    """What is wrong, as (field, what to do)."""
    if not _NAME.fullmatch(server.name):
        yield "name", "1 to 32 of letters, digits and `-`."
    if (server.url is UNSET) == (server.tool_server is UNSET):
        yield "url", "name either a `url` or a `toolServer`."
    if server.url is not UNSET and not 1 <= len(server.url) <= _LONGEST["url"]:
        yield "url", f"1 to {_LONGEST['url']:,} characters."
    if server.api_key_ref is not UNSET and (server.url is UNSET or not server.api_key_ref):
        yield "apiKeyRef", "the name of a secret, for a server with a `url`."
    if server.api_key_header is not UNSET:
        if server.api_key_ref is UNSET:
            yield "apiKeyHeader", "there is no `apiKeyRef` whose value it could carry."
        if not _HEADER.fullmatch(server.api_key_header) or _OURS.fullmatch(server.api_key_header):
            yield "apiKeyHeader", "the name of a header that the broker does not write itself, as `X-Api-Key`."
    if server.tools is not UNSET and (
        len(server.tools) > _TOOLS or not all(1 <= len(tool) <= _LONGEST["tool"] for tool in server.tools)
    ):
        yield "tools", f"at most {_TOOLS} names of 1 to {_LONGEST['tool']} characters."
    if server.timeout_seconds is not UNSET and not 0 < server.timeout_seconds <= _LONGEST_S:
        yield "timeoutSeconds", f"a number above 0, at most {_LONGEST_S}."
    if server.tool_server is not UNSET and not server.tool_server:
        yield "toolServer", "the name of a tool server at a publisher."
