"""A request of Anthropic's API, said in its own words to an LLM that understands them, else in OpenAI's.

Nothing is read or translated before it is known who answers. It sends nothing.
"""

from __future__ import annotations

from aiohttp import web

from broker.chat.block import as_persona
from broker.chat.messages_block import COUNTED, as_persona as as_native_persona
from broker.dialects.messages_request import chat_of, read
from broker.errors import BadRequest
from broker.model import Persona
from broker.wire import MESSAGES, MESSAGES_HEADERS

from .calls import translated


class MessageWords:
    """``relay.Words``. ``persona``: of the agent that was asked."""

    operation = MESSAGES
    #: The fields that an agent may add; None: all.
    _adds: tuple[str, ...] | None = None

    def __init__(self, body: bytes, headers: dict[str, str], persona: Persona | None = None):
        self.headers = headers
        self._body = body
        self._persona = persona

    def by(self, persona: Persona) -> MessageWords:
        return type(self)(self._body, self.headers, persona)

    def native(self) -> bytes:
        if self._persona is None:
            return self._body
        return translated(lambda body: as_native_persona(body, self._persona, self._adds), self._body)

    def chat(self) -> bytes:
        body = translated(chat_of, translated(read, self._body))
        return as_persona(body, self._persona) if self._persona else body


class NotCounted(BadRequest):
    """An LLM that is asked in OpenAI's words cannot be asked how many tokens a request has."""


class CountWords(MessageWords):
    """The same for a count of its tokens, which OpenAI's API has no words for."""

    operation = "count_tokens"
    _adds = COUNTED

    def chat(self) -> bytes:
        raise NotCounted()


def headers_of(request: web.Request) -> dict[str, str]:
    """The headers of Anthropic's API in a request."""
    given = {name: ",".join(request.headers.getall(name, ())) for name in MESSAGES_HEADERS}
    return {name: value.encode("ascii", "ignore").decode() for name, value in given.items() if value}
