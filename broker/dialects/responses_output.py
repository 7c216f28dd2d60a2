"""What an LLM says, as the output items of OpenAI's Responses API and the events that tell of them.

Events are numbered as they are made, whether or not their reader has them already. Items follow one another; only one is
open. It reads nothing.
"""

from __future__ import annotations

from typing import Any

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import Call, encode

#: Where each kind of words stands: its item's type and id prefix, its field, its events, and its part's other fields.
_PARTS = {
    "output_text": ("message", "msg", "text", "response.output_text", {"annotations": [], "logprobs": []}),
    "refusal": ("message", "msg", "refusal", "response.refusal", {}),
    "reasoning_text": ("reasoning", "rs", "text", "response.reasoning_text", {}),
}


class Events:
    """Gives events their numbers. ``after``: the number of the last one that the reader has."""

    def __init__(self, after: int):
        self._after = after
        self._number = 0
        self._delta = (b"", b"")  # what stands around a piece of what is open

    @property
    def last(self) -> int:
        """The number of the last event that the reader has now."""
        return max(self._after, self._number - 1)

    def say(self, event: str, fields: dict[str, Any]) -> bytes:
        number = self._number
        self._number += 1
        if number <= self._after:
            return b""
        return b"event: %s\ndata: %s\n\n" % (event.encode(), encode({"type": event, "sequence_number": number, **fields}))

    def begin_deltas(self, event: str, place: dict[str, Any]) -> None:
        """What ``say_delta`` says is that event, at that place."""
        start = encode({"type": event, **place})[:-1]
        self._delta = (b'event: %s\ndata: %s,"delta":' % (event.encode(), start), b',"sequence_number":%d}\n\n')

    def say_delta(self, words: str) -> bytes:
        number = self._number
        self._number += 1
        before, after = self._delta
        return before + encode(words) + after % number if number > self._after else b""


class Output:
    """``items``: those that are complete. ``name``: what their ids are made of."""

    def __init__(self, name: str, events: Events):
        self.items: list[dict[str, Any]] = []
        self._name = name
        self._events = events
        self._index = 0  # of the item that is open, or the next one
        self._item: dict[str, Any] | None = None
        self._part = ""  # that is open in it
        self._pieces: list[str] = []
        self._call = ("", 0)  # id and index of the call that is open

    def begin_again(self) -> bytes:
        """What there is counts no more; what comes stands after it."""
        said = self.end_item("incomplete")
        self.items = []
        return said

    def words(self, kind: str, words: str) -> bytes:
        """``kind``: output_text, refusal, reasoning_text."""
        said = b""
        if self._part != kind:
            item, prefix, field, event, more = _PARTS[kind]
            if self._item is None or self._item["type"] != item:
                first = {"id": "", "type": item, "status": "in_progress", "content": []}
                said = self._begin_item(prefix, first | ({"role": "assistant"} if item == "message" else {"summary": []}))
            else:
                said = self._end_part()
            self._part = kind
            place = self._place()
            said += self._events.say("response.content_part.added", {**place, "part": {"type": kind, field: "", **more}})
            self._events.begin_deltas(f"{event}.delta", {**place, "logprobs": []} if kind == "output_text" else place)
        return said + self._say_delta(words)

    def tool(self, call: Call) -> bytes:
        """A tool call, or a piece of one. Raises BrokenAnswer."""
        said = b""
        open_id, open_index = self._call
        number = open_index if call.index is None else call.index
        # A server that numbers its calls badly still gives each of them an id of its own.
        another = bool(call.id and call.function.name and call.id != open_id)
        if self._item is None or self._item["type"] != "function_call" or number != open_index or another:
            if not call.function.name:
                raise BrokenAnswer("the LLM's stream mixes the pieces of several tool calls, which cannot be told apart")
            said = self.end_item()
            item = {"id": "", "type": "function_call", "status": "in_progress", "call_id": self._call_id(call)}
            said += self._begin_item("fc", {**item, "name": call.function.name, "arguments": ""})
            self._call = (call.id or "", number)
            self._events.begin_deltas("response.function_call_arguments.delta", self._place(part=False))
        return said + self._say_delta(call.arguments) if call.arguments else said

    def end_item(self, status: str = "completed") -> bytes:
        """Closes what is open."""
        if self._item is None:
            return b""
        item, said = self._item, b""
        if item["type"] == "function_call":
            item["arguments"] = "".join(self._pieces) or "{}"
            self._pieces.clear()
            done = {**self._place(part=False), "name": item["name"], "arguments": item["arguments"]}
            said = self._events.say("response.function_call_arguments.done", done)
        else:
            said = self._end_part()
        item["status"] = status
        said += self._events.say("response.output_item.done", {"output_index": self._index, "item": item})
        self.items.append(item)
        self._index += 1
        self._item, self._part = None, ""
        return said

    def _begin_item(self, prefix: str, item: dict[str, Any]) -> bytes:
        said = self.end_item()
        item["id"] = f"{prefix}_{self._name}_{self._index}"
        self._item = item
        return said + self._events.say("response.output_item.added", {"output_index": self._index, "item": item})

    def _end_part(self) -> bytes:
        _, _, field, event, more = _PARTS[self._part]
        text = "".join(self._pieces)
        self._pieces.clear()
        place, part = self._place(), {"type": self._part, field: text, **more}
        done = {**place, field: text, "logprobs": []} if self._part == "output_text" else {**place, field: text}
        said = self._events.say(f"{event}.done", done) + self._events.say("response.content_part.done", {**place, "part": part})
        self._item["content"].append(part)
        return said

    def _say_delta(self, words: str) -> bytes:
        self._pieces.append(words)
        return self._events.say_delta(words)

    def _call_id(self, call: Call) -> str:
        """The server's, if it gives each call another: clients tell calls by it."""
        known = [item.get("call_id") for item in self.items]
        return call.id if call.id and call.id not in known else f"call_{self._name}_{self._index}"

    def _place(self, *, part: bool = True) -> dict[str, Any]:
        place = {"item_id": self._item["id"], "output_index": self._index}
        return {**place, "content_index": len(self._item["content"])} if part else place
