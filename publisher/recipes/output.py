"""What a program prints: read as fast as it comes, its end kept, all of it handed on if somebody wants it.

On a thread of its own, so that neither a flood nor a slow disk holds up the
publisher. Memory is bounded. A program left behind that still prints is never
waited for, and never killed by a broken pipe: ``cat`` swallows the rest, even
after the publisher's end (on Windows a thread does, until then).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

LINES_KEPT = 20
BYTES_KEPT = 8192
BLOCK = 65536
SAID_CHARS = 1000
SECRET_CHARS = 4  # shorter values are words such as "0" or "yes", which any text may hold
LAST_BYTES_S = 0.3  # from the program's end, for what is still in the pipe

# Colours, cursor moves and other control characters: texts end in logs and in JSON.
UNPRINTABLE = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0e-\x1f\x7f-\x9f]"
)


class Sink(Protocol):
    """Where all of it goes. Called on the thread; raises nothing."""

    def write(self, block: bytes) -> None: ...

    def close(self) -> None: ...


class Output:
    """``write_end`` is the program's stdout and stderr. Made where a loop runs.

    ``secrets`` are never told: what a program prints of its environment (a script
    under ``sh -x`` prints all it does) reaches callers with an error.
    """

    def __init__(self, sink: Sink | None = None, header: bytes = b"", secrets: Iterable[str] = ()) -> None:
        self._sink = sink
        self._secrets = [secret for secret in secrets if len(secret) >= SECRET_CHARS]
        self._tail = b""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._left = False
        with contextlib.ExitStack() as on_failure:  # of a system without a free file or thread
            self._read_end, self.write_end = self._pipe(on_failure)
            self._leave_heard, self._leave = self._pipe(on_failure)
            in_background(self._read, header)
            on_failure.pop_all()

    def started(self) -> None:
        """The program has its own copy of the write end, or did not start: ours must not keep it open."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    async def end(self) -> None:
        """After the program's end: waits for its last bytes, not for what it left behind."""
        self.started()
        if self._left:
            return
        try:
            await asyncio.wait([self._over], timeout=LAST_BYTES_S)
        finally:
            self._left = True
            os.close(self._leave)
        # The publisher may end right after this: somebody must have taken the pipe over by then.
        await asyncio.wait([self._over], timeout=LAST_BYTES_S)

    def lines(self) -> list[str]:
        """The last ones, without what a terminal would make of them."""
        text = self._tail[-BYTES_KEPT:].decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "…")
        lines = (line.strip() for line in UNPRINTABLE.sub("", text).strip().splitlines())
        return [line for line in lines if line][-LINES_KEPT:]

    def said(self, most: int = LINES_KEPT) -> str:
        """The last lines as the end of an error message."""
        text = " / ".join(self.lines()[-most:])
        if len(text) > SAID_CHARS:  # the end says most: a traceback's is the error itself
            text = "… " + text[-SAID_CHARS:]
        return f": {text}" if text else ""

    def _pipe(self, on_failure: contextlib.ExitStack) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            on_failure.callback(os.close, end)
        return ends

    # ── on the thread ───────────────────────────────────────────────────────

    def _read(self, header: bytes) -> None:
        try:
            if self._sink is not None:
                self._sink.write(header)
            ended = self._read_while_wanted()
            if self._sink is not None:
                self._sink.close()
            if not ended:
                self._swallow()
            self._tell_over()
        finally:
            os.close(self._read_end)
            os.close(self._leave_heard)

    def _read_while_wanted(self) -> bool:
        """Whether it came to its end."""
        while self._wanted():
            block = os.read(self._read_end, BLOCK)
            if not block:
                return True
            self._keep(block)
        return False

    def _wanted(self) -> bool:
        """True when there is something to read; False once nobody waits for it any more."""
        if sys.platform == "win32":  # its pipes cannot be polled; ``_keep`` drops what comes late
            return True
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        poll.register(self._leave_heard, select.POLLIN)
        poll.poll()
        return not self._left

    def _keep(self, block: bytes) -> None:
        if self._left:
            return
        self._tail = (self._tail + block)[-BYTES_KEPT:]
        if self._sink is not None:
            self._sink.write(block)

    def _tell_over(self) -> None:
        def over() -> None:
            if not self._over.done():
                self._over.set_result(None)

        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(over)

    def _swallow(self) -> None:
        """Until the last writer is gone."""
        try:
            cat = subprocess.Popen(
                ["cat"], stdin=self._read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, cwd="/",
            )
        except OSError:  # as long as the publisher lives, then
            while os.read(self._read_end, BLOCK):
                pass
        else:
            self._tell_over()
            cat.wait()


def in_background(what: Callable[..., None], *args: object) -> None:
    """On a thread that does not keep the publisher from ending. ``OSError`` when there can be no more threads."""
    try:
        threading.Thread(target=what, args=args, daemon=True).start()
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no more threads: raise the limit of processes (ulimit -u)") from None
