"""The frames of one task on their way to the broker.

Collects what the task says until the uploader takes it. Text of a stream that
piled up meanwhile becomes one frame. ``seq`` is given when a frame is taken, so
a frame once numbered never changes. After the last frame nothing is added.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from broker.wire import Chunk, Result, Usage

if TYPE_CHECKING:
    from publisher.link.uploads import Uploader

MERGE_CHARS = 64 * 1024  # merging copies, so not without end
FRAME_BYTES = 100  # what a frame costs besides its text


class Outgoing:
    def __init__(self, task_id: str, uploader: Uploader, give_up_at: float, *, numbered: bool = True) -> None:
        self._counts = numbered
        self.task_id = task_id
        self.give_up_at = give_up_at
        self.frames: list[Result] = []
        self.queued = False  # the uploader knows that there are frames
        self.begun = False
        self._headed = False
        self._spoke = False  # the first words of a stream are out
        self.ended = False
        self.dropped = False
        self.resent_from = -1
        self.stop: Callable[[str, str], None] | None = None  # set by the task that is to be stopped
        self.next_seq = 0
        self._uploader = uploader

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Status and headers of a stream; said once."""
        if self._headed:
            return
        self._headed = True
        self._add(Result(self.task_id, status=status, headers=headers), FRAME_BYTES)

    def events(self, text: str, done: bool = False, usage: Usage | None = None) -> None:
        if self.ended:
            return
        last = self.frames[-1].chunk if self.frames else None
        if last is not None and len(last.events) < MERGE_CHARS:
            last.events += text
            last.done = done
            self.frames[-1].usage = usage
            self.ended = done
            self._uploader.grew(len(text), urgent=done)
        else:
            frame = Result(self.task_id, chunk=Chunk(events=text, done=done), usage=usage)
            self._add(frame, len(text), last=done, urgent=done or not self._spoke)
            self._spoke = True

    def answer(self, status: int, headers: dict[str, str], body: bytes, usage: Usage | None = None) -> None:
        frame = Result(self.task_id, status=status, headers=headers, usage=usage)
        try:
            frame.body = msgspec.Raw(msgspec.json.encode(body.decode()))
        except UnicodeDecodeError:
            frame.body_base64 = base64.b64encode(body).decode()
        self._add(frame, len(body), last=True)

    def value(self, body: object) -> None:
        """A result of our own, not a backend's: sent as the JSON value it is."""
        self._add(Result(self.task_id, status=200, body=msgspec.Raw(msgspec.json.encode(body))), 0, last=True)

    def error(self, message: str, code: str) -> None:
        fit = message.encode(errors="replace").decode()  # half a surrogate pair cannot be sent
        self._add(Result(self.task_id, error=fit, code=code), len(fit), last=True)

    def accept(self) -> None:
        if not self.begun:
            self._add(Result(self.task_id, accept=True), FRAME_BYTES)

    @contextlib.contextmanager
    def streaming(self) -> Iterator[None]:
        """While inside, this task is one of the streams under way."""
        self._uploader.stream_began()
        try:
            yield
        finally:
            self._uploader.stream_ended()

    def drop(self) -> None:
        """The broker wants no more of this task."""
        self.ended = self.dropped = True
        self.frames.clear()

    @property
    def crowded(self) -> bool:
        return self._uploader.crowded

    async def room(self) -> None:
        await self._uploader.room()

    def numbered(self, frame: Result) -> Result:
        if self._counts and not frame.accept:
            frame.seq = self.next_seq
            self.next_seq += 1
        return frame

    def _add(self, frame: Result, size: int, last: bool = False, urgent: bool = True) -> None:
        if self.ended:
            return
        self.begun = True
        self.ended = last
        self.frames.append(frame)
        self._uploader.add(self, size + FRAME_BYTES, urgent)


def is_last(frame: Result) -> bool:
    if frame.error is not None:
        return True
    if frame.chunk is not None:
        return frame.chunk.done
    return not frame.accept and (bool(frame.body) or frame.body_base64 is not None)
