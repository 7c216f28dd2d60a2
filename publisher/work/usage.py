"""Reads what an answer cost, in tokens, while the answer passes by. It changes nothing in it.

Backends say it in several places: OpenAI on a last chunk without choices, litellm on
one with an empty delta, transformers on the finish chunk, some on every chunk, llama.cpp
as ``timings``. So whatever event has it at its top level counts, and the last one is
right. An event that holds no such word is never parsed; what cannot be read is not counted.
"""

from __future__ import annotations

import msgspec

from broker.dialects.sse import DONE, payloads
from broker.wire import Usage

USAGE, TIMINGS, START = b'"usage"', b'"timings"', b'"message_start"'
UNREADABLE = (msgspec.MsgspecError, RecursionError)
MOST_TOKENS = 2**53  # beyond it no JSON reader agrees on the number, and no backend means it

_Number = int | float | None


class _Counts(msgspec.Struct):
    """OpenAI's names, and those of APIs that call them input and output."""

    prompt_tokens: _Number = None
    completion_tokens: _Number = None
    total_tokens: _Number = None
    input_tokens: _Number = None
    output_tokens: _Number = None
    cache_creation_input_tokens: _Number = None  # not in input_tokens, though they were read
    cache_read_input_tokens: _Number = None


class _Timings(msgspec.Struct):
    """llama.cpp's own measure, which it gives unasked."""

    prompt_n: _Number = None
    cache_n: _Number = None  # of the prompt, not computed again
    predicted_n: _Number = None


class _Usage(msgspec.Struct):
    usage: _Counts | None = None


class _Start(msgspec.Struct):
    """Anthropic's first event, the only one that is sure to tell the input."""

    message: _Usage


class _Timed(msgspec.Struct):
    timings: _Timings | None = None


_usage = msgspec.json.Decoder(_Usage).decode
_start = msgspec.json.Decoder(_Start).decode
_timings = msgspec.json.Decoder(_Timed).decode


class UsageReader:
    """Reads along with one stream. ``found``: the last word on its cost, if there was one."""

    def __init__(self) -> None:
        self.events = 0  # about one per token
        self.found: Usage | None = None
        self._measured = False  # found is llama.cpp's timings: a usage is better
        self._input = 0  # as Anthropic's stream told at its begin

    def block(self, data: bytes) -> int:
        """Takes whole events, each ``data: payload\\n\\n``; says how many they are, ``[DONE]`` left out."""
        events = data.count(b"\n\n") - data.endswith(DONE)
        self.events += events
        if USAGE in data or TIMINGS in data:
            self._look(data)
        return events

    def _look(self, data: bytes) -> None:
        for payload in payloads(data):
            if USAGE in payload and (said := _said(payload)):
                if START in payload:
                    self._input = said.prompt_tokens
                elif self._input and not said.prompt_tokens:
                    said = Usage(self._input, said.completion_tokens, self._input + said.completion_tokens)
                self.found, self._measured = said, False
            elif (self.found is None or self._measured) and TIMINGS in payload and (said := _measured(payload)):
                self.found, self._measured = said, True


def usage_of(body: bytes) -> Usage | None:
    """The cost that a whole answer tells; ``None`` when it does not."""
    said = _said(body) if USAGE in body else None
    return said or (_measured(body) if TIMINGS in body else None)


def _said(payload: bytes) -> Usage | None:
    try:
        told = (_start(payload).message if START in payload else _usage(payload)).usage
    except UNREADABLE:
        return None
    if told is None:
        return None
    prompt = told.prompt_tokens
    if prompt is None and told.input_tokens is not None:
        prompt = told.input_tokens + (told.cache_creation_input_tokens or 0) + (told.cache_read_input_tokens or 0)
    completion = told.completion_tokens if told.completion_tokens is not None else told.output_tokens
    return _counted(prompt, completion, told.total_tokens)


def _measured(payload: bytes) -> Usage | None:
    try:
        told = _timings(payload).timings
    except UNREADABLE:
        return None
    if told is None:
        return None
    prompt = None if told.prompt_n is None else told.prompt_n + (told.cache_n or 0)
    return _counted(prompt, told.predicted_n, None)


def _counted(prompt: _Number, completion: _Number, total: _Number) -> Usage | None:
    if prompt is None and completion is None and total is None:
        return None
    tokens = [int(number or 0) for number in (prompt, completion, total)]
    if total is None:
        tokens[2] = tokens[0] + tokens[1]
    return Usage(*tokens) if min(tokens) >= 0 and max(tokens) < MOST_TOKENS else None
