"""What the canned publisher answers, and how it travels: in batches, one POST at a time.

A plain request is answered in one frame. A stream either keeps the pace its
prompt asks for or, without one, sends as fast as the broker takes the batches.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque

from benchmark.http1 import Connection, head
from benchmark.shapes import ANSWER, LAST_EVENTS, chunk_event, wishes
from broker.wire import Frame

#: Chunks of one stream that ride in one frame when it runs flat out. A real
#: publisher joins what its backend sent while the last POST was under way.
_FLAT_OUT_CHUNKS = 8

_PLAIN = (
    '{"taskId":"%s","seq":0,"status":200,"headers":{"content-type":"application/json"},"body":'
    + json.dumps(ANSWER.decode())
    + "}\n"
)
_HEAD = '{"taskId":"%s","seq":0,"status":200,"headers":{"content-type":"text/event-stream"}}\n'
_EVENTS = '{"taskId":"%s","seq":%d,"chunk":{"events":%s%s}}\n'
_CANCELLED = '{"taskId":"%s","seq":%d,"error":"cancelled","code":"cancelled"}\n'


class Stream:
    """One stream under way: what is left of it and when its next chunk is due."""

    __slots__ = ("task_id", "seq", "left", "delay_s", "due", "pending")

    def __init__(self, task_id: str, left: int, delay_s: float, due: float) -> None:
        self.task_id, self.left, self.delay_s, self.due = task_id, left, delay_s, due
        self.seq = 1
        self.pending: list[str] = []

    def frame(self) -> str:
        """One result line with every chunk that waits."""
        events, self.pending = "".join(self.pending), []
        done = not self.left
        if done:
            events += LAST_EVENTS
        line = _EVENTS % (self.task_id, self.seq, json.dumps(events), ',"done":true' if done else "")
        self.seq += 1
        return line


class Answers:
    """Everything on its way to the broker, in one POST at a time."""

    def __init__(self, connection: Connection, port: int, headers: dict[str, str]) -> None:
        self._connection = connection
        self._head = head(
            "POST", "/api/v1/llms/_provider-results", f"127.0.0.1:{port}", headers, content_type="application/x-ndjson"
        )
        self._lines: list[str] = []
        self._waiting: dict[str, Stream] = {}  # paced streams with chunks to send
        self._running: dict[str, Stream] = {}
        self._flat_out: deque[Stream] = deque()
        self._work = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def take(self, frame: Frame) -> None:
        """One frame of the channel."""
        if frame.kind == "cancel":
            self._cancel(frame.task_id)
        elif frame.kind == "infer" and not frame.streaming:
            self._lines.append(_PLAIN % frame.task_id)
        elif frame.kind == "infer":
            self._begin(frame)
        self._work.set()

    def _begin(self, frame: Frame) -> None:
        tokens, delay_us = wishes(bytes(frame.request))
        stream = Stream(frame.task_id, tokens, delay_us / 1e6, self._loop.time())
        self._running[stream.task_id] = stream
        self._lines.append(_HEAD % stream.task_id)
        if delay_us:
            self._next_chunk(stream)
        else:
            self._flat_out.append(stream)

    def _cancel(self, task_id: str) -> None:
        stream = self._running.pop(task_id, None)
        if stream:
            stream.left = 0
            self._waiting.pop(task_id, None)
            self._lines.append(_CANCELLED % (task_id, stream.seq))

    def _next_chunk(self, stream: Stream) -> None:
        if stream.task_id not in self._running:
            return
        stream.pending.append(chunk_event())
        stream.left -= 1
        self._waiting[stream.task_id] = stream
        self._work.set()
        if stream.left:
            stream.due += stream.delay_s
            self._loop.call_at(stream.due, self._next_chunk, stream)

    def _batch(self) -> str:
        lines, self._lines = self._lines, []
        waiting, self._waiting = self._waiting, {}
        for stream in waiting.values():
            self._write(stream, lines)
        for _ in range(len(self._flat_out)):
            stream = self._flat_out.popleft()
            if stream.task_id not in self._running:
                continue
            count = min(_FLAT_OUT_CHUNKS, stream.left)
            stream.left -= count
            stream.pending.extend(chunk_event() for _ in range(count))
            self._write(stream, lines)
            if stream.left:
                self._flat_out.append(stream)
        return "".join(lines)

    def _write(self, stream: Stream, lines: list[str]) -> None:
        lines.append(stream.frame())
        if not stream.left:
            self._running.pop(stream.task_id, None)

    async def upload(self) -> None:
        while True:
            if not self._flat_out:
                await self._work.wait()
            self._work.clear()
            body = self._batch().encode()
            if not body:
                continue
            status, answer = await self._connection.call(self._head + b"%d\r\n\r\n" % len(body) + body)
            if status != 200:
                print(f"results refused: {status} {answer[:300]!r}", file=sys.stderr, flush=True)
