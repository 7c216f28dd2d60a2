"""A chat's answer, whole or as a stream, said anew in the events of OpenAI's Responses API, and as the response that
they amount to.

The events and their numbers depend on the answer's payloads alone, not on how they
arrive: whoever reads the same reply again counts the same, and ``after`` leaves out
what a client has. A stream that breaks off is never made to look complete.
"""

from __future__ import annotations

import time
from typing import Any

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import Choice, Said, Usage, encode, read, read_whole
from broker.dialects.responses_answer import INCOMPLETE, counts, failed
from broker.dialects.responses_output import Events, Output
from broker.dialects.sse import EventReader, EventTooLarge, payloads

EVENT_BYTES = 16 << 20


class EventWriter:
    """Takes a chat's answer in any pieces and gives the events. ``response``: as it stands; its ``created_at`` None means
    when the LLM's server says that it began. ``completed_s``: when the answer ended, told before it is closed. ``after``:
    the number of the last event that its reader has."""

    def __init__(self, response: dict[str, Any], *, after: int = -1):
        self.response = response
        self.ended = False
        self.completed_s: int | None = None
        self._begun = False
        self._broken: BrokenAnswer | None = None
        self._reader = EventReader(EVENT_BYTES)
        self._events = Events(after)
        self._output = Output(response["id"].removeprefix("resp_"), self._events)
        self._usage = Usage()
        self._reason: str | None = None

    def begin(self) -> bytes:
        """The first events; nothing when they are out."""
        if self._begun:
            return b""
        self._begun = True
        self.response["created_at"] = self.response["created_at"] or int(time.time())
        if not self.response["background"]:
            return self._stands("response.created") + self._stands("response.in_progress")
        self.response["status"] = "queued"
        said = self._stands("response.created") + self._stands("response.queued")
        self.response["status"] = "in_progress"
        return said + self._stands("response.in_progress")

    def begin_again(self) -> bytes:
        """What came is not the answer: another attempt follows. Its items come after those that are out, which are
        incomplete, and in the end only its own are the response's."""
        said = self._output.begin_again()
        self._reader, self._usage, self._reason = EventReader(EVENT_BYTES), Usage(), None
        return said

    def say(self, data: bytes) -> bytes:
        """The events for what has come. Raises BrokenAnswer, after all that came before."""
        if self._broken:
            raise self._broken
        try:
            block = self._reader.feed(data)
        except EventTooLarge:
            raise BrokenAnswer(f"the LLM's stream has an event of more than {EVENT_BYTES >> 20} MiB") from None
        return self._block(block) if block else b""

    def say_whole(self, body: bytes) -> bytes:
        """A whole answer, in events, but for its end. Raises BrokenAnswer where it is none."""
        read_whole(body)
        return self._payload(body)

    def close(self) -> bytes:
        """At the end of the answer. Raises BrokenAnswer."""
        said = self._block(self._reader.rest())
        if self._broken:
            raise self._broken
        if self.ended:
            return said
        why = INCOMPLETE.get(self._reason or "")
        said += self.begin() + self._end_output("incomplete" if why else "completed")
        self.ended = True
        self.response["status"] = "incomplete" if why else "completed"
        self.response["incomplete_details"] = {"reason": why} if why else None
        self.response["usage"] = counts(self._usage)
        self.response["completed_at"] = None if why else self.completed_s
        return said + self._stands(f"response.{self.response['status']}")

    def fail(self, status: int, error: dict[str, Any]) -> bytes:
        """The last events of an answer that ends too early; nothing when it has ended."""
        if self.ended:
            return b""
        said = self.begin() + self._end_output("incomplete")
        self.ended = True
        self.response = failed(self.response, status, error)
        return said + self._stands("response.failed")

    def cancel(self) -> bytes:
        """The last events of an answer that nobody wants any more."""
        if self.ended:
            return b""
        said = self.begin() + self._end_output("incomplete")
        self.ended = True
        self.response["status"] = "cancelled"
        return said + self._stands("response.failed")

    def interrupt(self, error: dict[str, Any]) -> bytes:
        """The last event of a stream that can be read on elsewhere. It is none of the stream's, and bears the number after
        which to go on."""
        said = {"type": "error", "sequence_number": self._events.last, "param": None, **error}
        return b"event: error\ndata: " + encode(said) + b"\n\n"

    def _block(self, block: bytes) -> bytes:
        said: list[bytes] = []
        for payload in payloads(block):
            try:
                said.append(self._payload(payload))
            except BrokenAnswer as broken:
                self._broken = broken
            if self._broken:
                break
        if self._broken and not any(said):
            raise self._broken
        return b"".join(said)

    def _payload(self, payload: bytes) -> bytes:
        if self.ended or payload == b"[DONE]":
            return b""
        answer = read(payload)
        if answer.error is not None:
            return self.fail(*answer.failure)
        if answer.usage is not None:
            self._usage = answer.usage
        if not self._begun and self.response["created_at"] is None and isinstance(answer.created, int):
            self.response["created_at"] = answer.created
        said = self.begin()
        return said + self._choice(answer.choices[0]) if answer.choices else said

    def _choice(self, choice: Choice) -> bytes:
        piece = choice.piece
        said = self._piece(piece) if piece is not None else b""
        if choice.finish_reason:
            self._reason = choice.finish_reason
        return said

    def _piece(self, piece: Said) -> bytes:
        said = b""
        if thoughts := piece.thoughts:
            said = self._output.words("reasoning_text", thoughts)
        if text := piece.text:
            said += self._output.words("output_text" if piece.content else "refusal", text)
        try:
            for call in piece.tool_calls or ():
                said += self._output.tool(call)
        except BrokenAnswer as broken:
            # What came before it has its numbers already.
            self._broken = broken
        return said

    def _end_output(self, status: str) -> bytes:
        said = self._output.end_item(status)
        self.response["output"] = self._output.items
        return said

    def _stands(self, event: str) -> bytes:
        return self._events.say(event, {"response": self.response})
