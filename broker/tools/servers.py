"""A project's tool servers, as its row keeps them. Nothing is asked here."""

from __future__ import annotations

import msgspec


class Server(msgspec.Struct, frozen=True, rename="camel"):
    """One tool server: at a ``url`` (streamable HTTP), or the ``tool_server`` of that name at a publisher.

    ``api_key_ref``: the secret that it is called with, as a bearer or in the header ``api_key_header``. ``tools``: its
    tools that may be used, by name; None: all. ``timeout_seconds``: for one call; None: as the broker's setting.
    """

    name: str
    url: str | None = None
    api_key_ref: str | None = None
    api_key_header: str | None = None
    tool_server: str | None = None
    tools: tuple[str, ...] | None = None
    timeout_seconds: float | None = None


read_servers = msgspec.json.Decoder(tuple[Server, ...]).decode
