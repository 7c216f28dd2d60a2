"""One publisher's open channel on this replica: frames in, SSE text out.

A socket write is no delivery, so nothing here counts as delivered: what a
channel drops is given again when the session opens its next one.
"""

from __future__ import annotations

import asyncio

import msgspec

from broker.wire import Frame

#: Frames that a publisher does not read pile up to here, then its channel is closed.
_BUFFER_BYTES = 64 << 20


def event(frame: bytes) -> bytes:
    """A frame as one SSE event. Frames are one line: JSON holds line breaks only between tokens."""
    return b"data: %s\n\n" % frame


class Channel:
    """Made by the task that writes it. ``name`` is the fence: frames carry the name of the channel that they are meant for."""

    def __init__(self, name: str, session: str, owner: str):
        self.name = name
        self.session = session
        self.owner = owner
        self.closed_by = ""
        self.opened = False
        self._writer = asyncio.current_task()
        self._outgoing: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future | None = None

    def put(self, frame: bytes) -> None:
        if self.closed_by:
            return
        self._outgoing.append(event(frame))
        self._held += len(frame)
        if self._held > _BUFFER_BYTES:
            # The writer waits for a socket that nobody empties: only this ends it.
            self.close("publisher")
            self._writer.cancel()
        self._wake()

    def end(self, reason: str) -> None:
        """``superseded`` · ``gone`` (the session is no more): the channel is not the session's any more."""
        if reason == "superseded":
            self.put(msgspec.json.encode(Frame(kind="superseded")))
        self.close("broker")

    def shut_down(self, retry_ms: int) -> None:
        """This replica goes away; the publisher is to come back elsewhere after about so long."""
        self.put(msgspec.json.encode(Frame(kind="shutdown", retry_ms=retry_ms)))
        self.close("broker")

    def close(self, by: str) -> None:
        self.closed_by = self.closed_by or by
        self._wake()

    async def read(self) -> bytes:
        """All that is to be written now; ``b""`` when the channel has ended."""
        if not self._outgoing and not self.closed_by:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        text = b"".join(self._outgoing)
        self._outgoing.clear()
        self._held = 0
        return text

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
