"""Answers what people ask a running publisher through its control socket.

One JSON object on one line each way: ``{"do": "status"}`` is answered by
``{"ok": …}`` or ``{"error": "…"}``. It decides nothing: what is asked goes to
``Commands``. Nobody who hangs, floods or leaves holds up anybody else, and
without a socket the publisher works just as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec

from publisher.control.claim import Claim, Taken
from publisher.control.place import Place, Unusable
from publisher.control.refused import Refused
from publisher.status import Status

log = logging.getLogger("publisher")

LONGEST_LINE = 64 << 10
MOST_AT_ONCE = 100
PATIENCE_S = 10.0  # with one who connected and says nothing, or does not read the answer


class Commands(Protocol):
    """What can be asked. Each raises ``Refused`` for what it does not do."""

    def status(self) -> Status: ...

    async def wake(self, name: str) -> int:
        """How long it took, in milliseconds."""

    async def sleep(self, name: str) -> None: ...

    async def reload(self) -> None: ...

    def logs(self) -> list[str]:
        """The publisher's own last lines."""

    def follow(self) -> AsyncIterator[str]:
        """Its lines from now on."""


class Order(msgspec.Struct):
    do: str
    name: str = ""
    last: int = 0  # of the lines so far; with ``follow``
    token: str = ""


class Control:
    def __init__(self, place: Place, commands: Commands, patience_s: float = PATIENCE_S) -> None:
        self._place = place
        self._commands = commands
        self._patience_s = patience_s
        self._token = ""
        self._talks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled. Returns when there can be no socket, which costs nothing but the verbs."""
        try:
            claim = Claim(self._place)
        except Taken:
            log.warning(
                "another publisher runs from the same config: this one cannot be asked by publisher status and the like"
            )
            return
        except Unusable as err:
            log.warning("no control socket, so publisher status and the like find nothing here: %s", err)
            return
        self._token = claim.token
        try:
            await self._listen(claim)
        finally:
            claim.release()

    async def _listen(self, claim: Claim) -> None:
        start = asyncio.start_server if self._place.by_tcp else asyncio.start_unix_server
        server = await start(self._came, sock=claim.listener, limit=LONGEST_LINE)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._talks) >= MOST_AT_ONCE:
            writer.write(_line({"error": "too many ask at once: try again"}))
            writer.close()
            return
        talk = asyncio.create_task(self._talk(reader, writer), name="control")
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await self._question(reader):
                await self._answer(line, reader, writer)
        except ValueError:  # the line was too long
            await self._say(writer, {"error": "the question is too long"})
        except (OSError, TimeoutError):
            pass
        finally:
            # What still waits to be read is dropped, or one who does not read would keep it for ever.
            (writer.transport.abort if writer.transport.get_write_buffer_size() else writer.close)()

    async def _question(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._patience_s):
            return await reader.readline()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = msgspec.json.decode(line, type=Order)
        except (msgspec.MsgspecError, RecursionError):
            await self._say(writer, {"error": "the question is not understood"})
            return
        if not hmac.compare_digest(order.token.encode(), self._token.encode()):
            await self._say(writer, {"error": "the token is wrong"})
        elif order.do == "follow":
            await self._follow(order.last, reader, writer)
        else:
            await self._say(writer, await self._done(order))

    async def _done(self, order: Order) -> dict:
        ways: dict[str, Callable[[], object]] = {
            "status": self._commands.status,
            "wake": lambda: self._commands.wake(order.name),
            "sleep": lambda: self._commands.sleep(order.name),
            "reload": self._commands.reload,
            "logs": self._commands.logs,
        }
        if order.do not in ways:
            return {"error": f"this publisher does not know {order.do[:40]!r}: update it and start it again"}
        try:
            value = ways[order.do]()
            return {"ok": await value if isinstance(value, Awaitable) else value}
        except Refused as err:
            return {"error": str(err)}
        except Exception as err:
            log.error("%s, asked for by hand, broke: %r", order.do, err, exc_info=err)
            return {"error": f"it broke ({type(err).__name__}): see publisher logs"}

    async def _follow(self, last: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other side goes. One that stops reading may go on later: its lines wait, or are dropped."""
        lines = self._commands.follow()
        writer.write(b"".join(_line({"ok": line}) for line in self._commands.logs()[-last:] if last))
        telling = asyncio.create_task(_tell(lines, writer), name="control follow")
        leaving = asyncio.create_task(reader.read(1), name="control leave")
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        raise ConnectionAbortedError

    async def _say(self, writer: asyncio.StreamWriter, answer: dict) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(_line(answer))
            async with asyncio.timeout(self._patience_s):
                await writer.drain()


async def _tell(lines: AsyncIterator[str], writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    async for line in lines:
        writer.write(_line({"ok": line}))
        await writer.drain()


def _line(answer: dict) -> bytes:
    return msgspec.json.encode(answer) + b"\n"
