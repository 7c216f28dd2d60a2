"""The loop dressed as the relay: an agent with tools is asked and answers as an LLM does, whatever the front.

``Looped`` has the relay's two doors, and what goes through them is one exchange, in OpenAI's words. The agent's own
calls are not in it, its words are. The caller may bring tools of its own: a call of one ends the answer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from broker.errors import Refusal, Relayed, Unprocessable
from broker.model import Persona
from broker.relay.call import Call
from broker.relay.exchange import Exchange, Patience
from broker.relay.parts import DONE, failure, head, part
from broker.relay.post import Post
from broker.relay.relay import Relay

from .block import merged, messages_of, read_fields, system_block
from .callers import own_tools, refuse_several, wants_usage
from .completion import Completion
from .loop import Question, Tools, converse
from .pieces import Outcome, Piece, Reasoning, Text, ToolCall

log = logging.getLogger(__name__)

_EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
_JSON = {"content-type": "application/json"}


class Toolboxes(Protocol):
    """What opens an agent's tools (``broker/tools/toolbox.py``)."""

    async def open(self, servers: bytes, extras: bytes, owner: str) -> Tools: ...


class _Extras(Struct):
    tools: Any = None


_extras = msgspec.json.Decoder(_Extras).decode


def has_tools(persona: Persona) -> bool:
    """Whether an agent may have tools; only its servers know."""
    return persona.servers not in (b"", b"[]") and _extras(persona.extras).tools != []


class Page(Protocol):
    """What a loop's answer is written to."""

    def put(self, parts: bytes) -> None: ...

    def asks(self, exchange: Exchange) -> None:
        """An ask of the LLM begins."""

    def refuse(self, refusal: Refusal) -> None:
        """There is no answer, or no more of it."""


class LoopedExchange(Exchange):
    """What a client of an agent with tools waits for. Silence in it may be a tool at work or the next ask's wait in
    line: each ask has its own limits, so only the deadline and a client that does not read end it from here."""

    def __init__(self, task: str, patience: Patience):
        super().__init__(task, patience)
        # Redis has no task of it that could be lost.
        self.ended = True
        self._refusal: Refusal | None = None
        self._asks: list[Exchange] = []

    def asks(self, exchange: Exchange) -> None:
        """An ask of the LLM begins. The first one's place in line is what the client is told."""
        if not self._asks:
            self.place, self.place_s = exchange.place, exchange.place_s
            self._asks.append(exchange)

    def refuse(self, refusal: Refusal) -> None:
        """Ends it; its reader gets the refusal with all that it says."""
        self._refusal = refusal
        self.put(failure(refusal.status, refusal.code, refusal.message))

    async def next(self, wait_s: float | None = None) -> bytes | None:
        self._idle_due = None
        try:
            taken = await super().next(wait_s)
        except Relayed as relayed:
            raise self._refusal or relayed from None
        self._idle_due = self._loop.time() + self._patience.idle_s
        if not self.done and (self._timer is None or self._timer.when() > self._idle_due):
            self._set_timer(self._idle_due)
        for first in self._asks:
            self.sent_at = first.sent_at
        return taken


class Looped:
    """One call to an agent with tools: ``begin`` and ``end`` as the relay's. ``call.llm`` is the LLM that answers,
    ``name`` what the caller asked for."""

    def __init__(
        self, relay: Relay, post: Post, toolboxes: Toolboxes, persona: Persona, name: str, *,
        max_iterations: int, answer_bytes: int,
    ):
        self._relay = relay
        self._post = post
        self._toolboxes = toolboxes
        self._persona = persona
        self._name = name
        self._max_iterations = max_iterations
        self._answer_bytes = answer_bytes
        self._run: asyncio.Task | None = None

    async def begin(self, call: Call, request_id: str) -> LoopedExchange:
        """Raises BadRequest for what an agent with tools cannot be asked; all else is told by the exchange."""
        asked, completion = self.read(call, request_id)
        exchange = LoopedExchange(request_id, call.patience)
        # Among the exchanges a broker that shuts down waits for it, also while no ask is under way.
        self._post.exchanges[_entry(exchange)] = exchange
        self._run = asyncio.create_task(self.answer(exchange, asked, completion))
        return exchange

    def read(self, call: Call, request_id: str) -> tuple[Question, Completion]:
        """What the loop is to answer, and the shape of that. Raises BadRequest."""
        given = read_fields(call.body)
        fields = merged(*self._persona.params, given)
        refuse_several(fields)
        if "model" in given:
            fields["model"] = given["model"]
        asked = Question(
            call.llm, call.owner, call.patience, request_id, fields,
            [*system_block(self._persona.prompts), *messages_of(given)], call.streaming, self._max_iterations,
            frozenset(own_tools(fields)), self._answer_bytes, call.priority, call.may_wake,
        )
        return asked, Completion(request_id, self._name, tells_usage=wants_usage(fields))

    def end(self, exchange: Exchange, reason: str, *, refusal: Refusal | None = None) -> None:
        """Stops what still runs. ``refusal``: what its client is told, which nobody else waits for."""
        exchange.close()
        self._post.exchanges.pop(_entry(exchange), None)
        if self._run and self._run.cancel(reason):
            self._post.errand(_over(self._run))

    async def answer(self, page: Page, asked: Question, completion: Completion) -> None:
        """Runs the loop to its end, which is written like the rest. A cancel stops the LLM and the tools."""
        try:
            tools = await self._toolboxes.open(self._persona.servers, self._persona.extras, asked.owner)
            for name in sorted(asked.callers):
                if tools.has(name):
                    raise Unprocessable(f"The agent {self._persona.agent!r} has a tool {name!r} itself; call yours otherwise.", param="tools")
            for warning in tools.warnings:
                log.warning("an agent lacks tools", extra={"agent": self._persona.agent, "why": warning})
            heard = _Heard(page, completion, streaming=asked.streaming)
            heard.ends(await converse(_Watched(self._relay, page), tools, asked, heard, lambda message: None))
        except Refusal as refusal:
            page.refuse(refusal)
        except Exception:
            log.exception("bug", extra={"agent": self._persona.agent})
            page.put(failure(500, "internal_error", "The broker made a mistake; its log says more."))


class _Watched:
    """The relay, with an eye on what it begins."""

    def __init__(self, relay: Relay, page: Page):
        self._relay = relay
        self._page = page
        self.end = relay.end

    async def begin(self, call: Call, request_id: str) -> Exchange:
        ask = await self._relay.begin(call, request_id)
        self._page.asks(ask)
        return ask


class _Heard:
    """What the loop says, as parts of an answer."""

    def __init__(self, page: Page, completion: Completion, *, streaming: bool):
        self._page = page
        self._completion = completion
        self._streaming = streaming
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._breaks = False
        self._begun = False

    def __call__(self, piece: Piece) -> None:
        match piece:
            case Text(text):
                if self._breaks and self._texts:
                    # What was said before the tools were used is a paragraph of its own.
                    text = f"\n\n{text}"
                self._breaks = False
                self._texts.append(text)
                self._stream(content=text)
            case Reasoning(text):
                self._thoughts.append(text)
                self._stream(reasoning_content=text)
            case ToolCall():
                self._breaks = True

    def ends(self, outcome: Outcome) -> None:
        calls, reason, usage = outcome.calls, outcome.finish_reason, outcome.usage
        if self._streaming:
            self._put(_EVENTS, self._completion.end(calls, reason, usage), last=True)
        else:
            text, thoughts = "".join(self._texts), "".join(self._thoughts)
            self._put(_JSON, self._completion.whole(text, thoughts, calls, reason, usage), last=True)

    def _stream(self, **delta: str) -> None:
        if self._streaming:
            self._put(_EVENTS, self._completion.piece(**delta))

    def _put(self, headers: dict[str, str], said: bytes, *, last: bool = False) -> None:
        first = b"" if self._begun else head(200, headers)
        self._begun = True
        self._page.put(first + part(b"C", said) + (DONE if last else b""))


def _entry(exchange: Exchange) -> bytes:
    """Its name among the exchanges, which no task has."""
    return f"{exchange.task} looped".encode()


async def _over(run: asyncio.Task) -> None:
    await asyncio.wait([run])
