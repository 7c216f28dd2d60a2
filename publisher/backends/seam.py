"""What every type of backend can do. The only thing that the rest of the program knows of one.

A backend is one server (an address and a key); its models are named in each call.
It never retries, never follows a redirect, and never loads a model to answer a
question: only ``infer`` and ``load`` may do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol



class Bytes(Protocol):
    """A body as it arrives; aiohttp's ``StreamReader`` is one."""

    async def readany(self) -> bytes:
        """What is there, waiting for at least one byte; ``b""`` at the end."""

    def at_eof(self) -> bool: ...


class Answer(Protocol):
    """A backend's answer in the shape of what it was asked, its head read; aiohttp's ``ClientResponse`` is one."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    content: Bytes

    def close(self) -> None:
        """Before the end of the body: stops the backend's work."""


class Backend(Protocol):
    url: str  # the server's address for messages: no path beyond what was written, no secret
    operations: tuple[str, ...]  # as brokers are told them; none: OpenAI's, which every backend has as far as it can

    async def available(self, model: str, resident: bool) -> bool:
        """Whether a request for the model would be answered now, without waking anything.

        ``resident``: the recipe loads the model itself, so one that is not in
        memory counts as asleep, even if the server would load it by itself. A
        server that still loads, or sleeps, is not available. Never raises for a
        server that is away, hangs, or speaks nonsense: that is ``False``.
        """

    async def models(self) -> list[str]:
        """The models that could be asked for, as the server names them, in its order.

        Raises ``BackendUnreachable``, or ``BackendBroken`` when it has no usable list.
        """

    async def slots(self, model: str) -> int | None:
        """How many requests it runs at once, when the server tells; ``None`` when not. Never raises."""

    async def infer(
        self, operation: str, body: bytes, streaming: bool, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``body`` is an OpenAI request with the model set; ``operation``: chat · completions · embeddings. For
        ``messages`` it is one of Anthropic's Messages API, whose own ``headers`` go along.

        Raises ``BackendUnreachable`` when nobody listened (it may be tried again),
        ``BackendBroken`` when it gave no proper answer, ``TaskFailed`` when the
        type cannot do that operation.
        """

    async def load(self, model: str, keep_alive: str | None) -> None:
        """Its own way to wake the model. Returns when the server took the order. Raises ``RecipeFailed``."""

    async def unload(self, model: str, level: int | None) -> None:
        """Its own way to put the model to sleep. Raises ``RecipeFailed``."""
