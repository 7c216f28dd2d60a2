"""The loop of an agent: the LLM is asked, its tool calls are run, it is asked again, until it calls none.

Each ask is a request of its own in the relay. The loop ends within its deadline and its number of asks; whatever
ends it early, a cancel as well, stops the LLM and the tools at once. It writes to nobody: what it makes is heard
by who runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from broker.dialects.openai_answer import Usage
from broker.errors import AgentLLMMissing, DeadlineExceeded, MaxIterations, Refusal
from broker.relay.call import Call
from broker.relay.exchange import Patience
from broker.relay.relay import Relay
from broker.unknown import UnknownLLM

from .answer import Heard, is_object, new_call_id, read_answer
from .block import Fields, request_body
from .pieces import Outcome, Piece, ToolCall, ToolResult, Warn

AT_ONCE = 8
_QUOTED = 300  # characters of what an LLM wrote, told back to it

_encode = msgspec.json.Encoder().encode


class Answered(Protocol):
    content: str
    is_error: bool


class Tools(Protocol):
    """An agent's tools (``broker/tools/toolbox.py``). ``specs``: as OpenAI has tools; ``warnings``: what is missing."""

    specs: list[dict]
    warnings: list[str]

    def has(self, name: str) -> bool: ...

    async def call(self, name: str, arguments: str, request_id: str) -> Answered: ...


class Question(Struct):
    """What a run of the loop is to answer.

    ``fields``: the chat request without messages; ``messages``: all of them, as JSON, the system block first.
    ``callers``: names of those tools in ``fields`` that whoever asks runs itself: a call of one ends the run.
    ``answer_bytes``: most that the LLM may say in all.
    """

    llm: str
    owner: str
    patience: Patience
    request_id: str
    fields: Fields
    messages: Sequence[bytes | Raw]
    streaming: bool
    max_iterations: int
    callers: frozenset[str] = frozenset()
    answer_bytes: int = 64 << 20
    priority: str = "interactive"
    may_wake: bool = True


async def converse(
    relay: Relay, tools: Tools, question: Question, hear: Callable[[Piece], None], said: Callable[[bytes], None]
) -> Outcome:
    """Runs to the final answer. ``hear`` gets each piece as it comes, ``said`` each message of the outcome as it is
    complete. Raises the Refusal that ends it: the relay's, the LLM's own, MaxIterations, DeadlineExceeded. The message of
    a cancel is what the publisher hears as its reason."""
    for warning in tools.warnings:
        hear(Warn(warning))
    return await _Conversation(relay, tools, question, hear, said).run()


class _Conversation:
    def __init__(self, relay: Relay, tools: Tools, question: Question, hear: Callable, said: Callable):
        self._relay = relay
        self._tools = tools
        self._question = question
        self._hear = hear
        self._said = said
        self._messages = list(question.messages)
        self._made: list[bytes] = []
        self._usage: dict | None = None
        self._ids: set[str] = set()
        self._specs = _both(question.fields.get("tools", Raw(b"")), tools.specs)
        self._left_bytes = question.answer_bytes
        self._due = asyncio.get_running_loop().time() + question.patience.deadline_s

    async def run(self) -> Outcome:
        most = self._question.max_iterations
        for number in range(1, most + 1):
            answer = await self._ask(number)
            calls = self._with_own_ids(answer.calls)
            callers = tuple(call for call in calls if call.name in self._question.callers)
            if callers or not calls:
                return self._outcome(answer, callers)
            if number < most:
                self._keep(_assistant(answer.text, calls))
                await self._use(calls)
        raise MaxIterations(f"The LLM still called tools after {most} answers (`maxIterations`), the last of which was to call none.")

    async def _ask(self, number: int) -> Heard:
        asked = self._question
        left_s = self._due - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise DeadlineExceeded()
        body = request_body(self._fields(number), self._messages, streaming=asked.streaming)
        call = Call(
            asked.llm, "chat", body, asked.streaming, asked.owner, replace(asked.patience, deadline_s=left_s),
            priority=asked.priority, may_wake=asked.may_wake,
        )
        try:
            exchange = await self._relay.begin(call, asked.request_id if number == 1 else f"{asked.request_id}.{number}")
        except UnknownLLM:
            raise AgentLLMMissing(f"The LLM {asked.llm!r} is gone.") from None
        reason = "client gone"
        try:
            answer = await read_answer(exchange, self._hear, limit_bytes=self._left_bytes)
        except Refusal as refusal:
            reason = refusal.code
            raise
        except asyncio.CancelledError as cancelled:
            reason = str(cancelled) or reason
            slow = exchange.overflow()
            # Unless somebody else cancelled us as well, it was the exchange alone.
            if slow and not asyncio.current_task().uncancel():
                raise slow from None
            raise
        finally:
            self._relay.end(exchange, reason)
        self._left_bytes -= answer.size
        self._usage = _sum(self._usage, answer.usage)
        return answer

    def _fields(self, number: int) -> Fields:
        """A tool that must be called must so but once; the last answer is to be one."""
        fields = dict(self._question.fields)
        if self._specs:
            fields["tools"] = self._specs
        if number > 1 and bytes(fields.get("tool_choice", b"")) not in (b'"auto"', b'"none"'):
            fields.pop("tool_choice", None)
        if number == self._question.max_iterations and self._specs:
            fields["tool_choice"] = Raw(b'"none"')
        return fields

    async def _use(self, calls: list[ToolCall]) -> None:
        for call in calls:
            self._hear(call)
        gate = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout_at(self._due), asyncio.TaskGroup() as group:
                for task in [group.create_task(self._run(call, gate)) for call in calls]:
                    result = await task
                    self._keep(_encode({"role": "tool", "tool_call_id": result.id, "content": result.content}))
        except TimeoutError:
            raise DeadlineExceeded() from None

    async def _run(self, call: ToolCall, gate: asyncio.Semaphore) -> ToolResult:
        async with gate:
            result = await self._result(call)
        self._hear(result)
        return result

    async def _result(self, call: ToolCall) -> ToolResult:
        if not self._tools.has(call.name):
            names = ", ".join(spec["function"]["name"] for spec in self._tools.specs) or "none at all"
            return ToolResult(call.id, call.name, f"There is no tool {call.name[:_QUOTED]!r}; there are: {names}.", True)
        if not is_object(call.arguments):
            why = f"The arguments must be one JSON object, which this is not: {call.arguments[:_QUOTED]}"
            return ToolResult(call.id, call.name, why, True)
        answer = await self._tools.call(call.name, call.arguments, self._question.request_id)
        # Python's JSON may hold half a character; no other does.
        content = answer.content.encode("utf-8", "replace").decode()
        return ToolResult(call.id, call.name, content, answer.is_error)

    def _with_own_ids(self, calls: list[ToolCall]) -> list[ToolCall]:
        """Some servers begin to count anew with each answer."""
        own = [msgspec.structs.replace(call, id=new_call_id()) if call.id in self._ids else call for call in calls]
        self._ids.update(call.id for call in own)
        return own

    def _outcome(self, answer: Heard, callers: tuple[ToolCall, ...]) -> Outcome:
        self._keep(_assistant(answer.text, callers))
        reason = "tool_calls" if callers else answer.finish_reason or "stop"
        return Outcome(self._made, reason, self._usage, answer.model, callers)

    def _keep(self, message: bytes) -> None:
        self._messages.append(message)
        self._made.append(message)
        self._said(message)


def _both(callers: Raw, specs: list[dict]) -> Raw | None:
    """The caller's tools and the agent's, as one list; None without any."""
    own = bytes(callers).strip()
    rest = own[1:-1].strip() if own.startswith(b"[") else b""
    lists = [rest] if rest else []
    return Raw(b"[%s]" % b",".join([*lists, *map(_encode, specs)])) if lists or specs else None


def _assistant(text: str, calls: Sequence[ToolCall]) -> bytes:
    if not calls:
        return _encode({"role": "assistant", "content": text})
    # Servers read the arguments of earlier calls, and fail at those that are no object.
    said = [
        {"id": call.id, "type": "function",
         "function": {"name": call.name, "arguments": call.arguments if is_object(call.arguments) else "{}"}}
        for call in calls
    ]
    return _encode({"role": "assistant", "content": text or None, "tool_calls": said})


def _sum(before: dict | None, told: Usage | None) -> dict | None:
    if told is None:
        return before
    prompt, completion = told.prompt_tokens or 0, told.completion_tokens or 0
    cached = told.prompt_tokens_details.cached_tokens or 0 if told.prompt_tokens_details else 0
    sums = before or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    return {
        "prompt_tokens": sums["prompt_tokens"] + prompt,
        "completion_tokens": sums["completion_tokens"] + completion,
        "total_tokens": sums["total_tokens"] + prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sums["prompt_tokens_details"]["cached_tokens"] + cached},
    }
