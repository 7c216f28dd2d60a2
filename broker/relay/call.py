"""What a client asks for, as the relay is told it, and in which words an LLM is asked.

A call holds no reply and no state: it may be made anew for each attempt.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Protocol

import msgspec
from msgspec import structs

from broker.model import Persona, Target
from broker.store.kept import Keep
from broker.store.pools import Choice

from .exchange import Exchange, Patience


class Words(Protocol):
    """What a client wants that can be said in two languages, of which every LLM understands OpenAI's. ``operation`` and
    ``headers`` are those of the other."""

    operation: str
    headers: dict[str, str]

    def native(self) -> bytes:
        """The body for LLMs that understand the client's own language. Raises BadRequest."""

    def chat(self) -> bytes:
        """The body in OpenAI's. Raises BadRequest."""

    def by(self, persona: Persona) -> Words:
        """The same with what an agent adds to it."""


class Call(msgspec.Struct):
    """What a client wants: ``body`` is its JSON as it came. With ``words`` it is not said yet, until it is known whether
    the LLM is asked in OpenAI's language or is ``native`` to the other."""

    llm: str
    operation: str
    body: bytes
    streaming: bool
    owner: str
    patience: Patience
    priority: str = "interactive"
    may_wake: bool = True
    keep: Keep | None = None
    # Of one to whom a pool chooses: `llm` is then an alias, a pool or a model.
    choice: Choice | None = None
    words: Words | None = None
    native: bool = False

    @property
    def other_language(self) -> str:
        """The operation by which it may be asked in the client's own language; '' for none. What is kept, or chosen for,
        is said in the one language that everybody understands."""
        return self.words.operation if self.words and not self.keep and not self.choice else ""

    def said(self, *, native: bool) -> Call:
        """The call as an LLM is asked it. Raises BadRequest for what cannot be said so."""
        if self.words is None:
            return self
        if native:
            return structs.replace(self, operation=self.words.operation, body=self.words.native(), native=True)
        return structs.replace(self, body=self.words.chat(), words=None)


class Upstreams(Protocol):
    """Who calls public LLMs (``broker/upstream/caller.py``)."""

    @property
    def room(self) -> int: ...

    def understand(self, target: Target, words: Words) -> bool: ...

    def start(self, exchange: Exchange, call: Call, target: Target) -> asyncio.Task | None: ...


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"
