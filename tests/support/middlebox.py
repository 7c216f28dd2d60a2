"""What stands between a publisher and its broker in real networks, in small.

A ``Middlebox`` forwards whole HTTP/1.1 requests to one address and buffers no
answer. By what it is told it also is a proxy with credentials, ends TLS, gives
up idle connections, cuts kept-alive ones, or swallows everything in silence.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import ssl
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    file: Path | str
    key: Path | str


def certificate_for(name: str, folder: Path) -> Certificate:
    """Signed by itself, so that its file is also what has to be trusted."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("making a certificate needs the openssl program")
    made = Certificate(folder / "middlebox.crt", folder / "middlebox.key")
    subprocess.run(
        [openssl, "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-newkey", "ec",
         "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", made.key, "-out", made.file],
        check=True, capture_output=True,
    )
    return made


class _Over(Exception):
    """This connection has to end."""


class Middlebox:
    """``async with Middlebox(broker.url, …) as box``; ``box.url`` stands for the broker, or as its proxy."""

    def __init__(
        self, behind: str, *, credentials: str = "", tls: Certificate | None = None, idle_s: float = 0.0, serves: int = 0
    ) -> None:
        self.behind = behind
        self.asked: list[str] = []  # the first line of each request, as it came
        self.connections = 0
        self.cut = 0  # connections ended by its own will
        self._wanted = f"Basic {base64.b64encode(urllib.parse.unquote(credentials).encode()).decode()}" if credentials else ""
        self._tls = tls
        self._idle_s = idle_s  # silent in both directions for so long: ended
        self._serves = serves  # so many requests on one connection; the next one finds it closed
        self._connected: set[asyncio.Task[None]] = set()
        self._swallowed: set[asyncio.Task[None]] = set()
        self._swallowing = False

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Middlebox:
        context = None
        if self._tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._tls.file, self._tls.key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._connected):
            task.cancel()
        await asyncio.gather(*self._connected, return_exceptions=True)

    def swallow(self, new: bool = False) -> None:
        """What is connected now hears nothing more, not even an end; with ``new`` neither does who comes later."""
        self._swallowed |= self._connected
        self._swallowing = new

    # ── one connection ──────────────────────────────────────────────────────

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connected.add(task)
        self.connections += 1
        if self._swallowing:
            self._swallowed.add(task)
        connection = _Connection(self, reader, writer)
        try:
            await connection.live()
        except (OSError, EOFError, _Over):
            pass
        except asyncio.CancelledError:
            pass  # the box is closed
        finally:
            self._connected.discard(task)
            connection.close()


class _Connection:
    def __init__(self, box: Middlebox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._box = box
        self._task = asyncio.current_task()
        self._reader, self._writer = reader, writer
        self._behind: asyncio.StreamWriter | None = None
        self._heard = asyncio.get_running_loop().time()
        self._served = 0

    async def live(self) -> None:
        address = urllib.parse.urlsplit(self._box.behind)
        answers, self._behind = await asyncio.open_connection(address.hostname, address.port)
        parts = [self._requests(), self._pump(answers, self._writer)]
        if self._box._idle_s:
            parts.append(self._idle())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def close(self) -> None:
        for writer in (self._writer, self._behind):
            if writer is not None:
                writer.transport.abort()

    async def _idle(self) -> None:
        clock = asyncio.get_running_loop().time
        while (left_s := self._heard + self._box._idle_s - clock()) > 0:
            await asyncio.sleep(left_s)
        self._box.cut += 1

    async def _requests(self) -> None:
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            await self._still_there()
            first, *headers = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            self._box.asked.append(first)
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
            if self._box._wanted and fields.get("proxy-authorization") != self._box._wanted:
                return await self._refuse()
            if first.startswith("CONNECT "):
                self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                return await self._pump(self._reader, self._behind)
            self._served += 1
            if self._box._serves and self._served > self._box._serves:
                self._box.cut += 1
                raise _Over
            await self._forward(first, headers, int(fields.get("content-length", 0)))

    async def _forward(self, first: str, headers: list[str], size: int) -> None:
        method, target, version = first.split(" ")
        if "://" in target:  # as proxies are asked
            target = "/" + target.split("/", 3)[3]
        kept = [line for line in headers if not line.lower().startswith("proxy-")]
        self._behind.write("\r\n".join([f"{method} {target} {version}", *kept, "", ""]).encode("latin-1"))
        while size:
            data = await self._reader.read(min(size, 65536))
            if not data:
                raise EOFError
            await self._pass(data, self._behind)
            size -= len(data)

    async def _refuse(self) -> None:
        self._writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
                           b"Proxy-Authenticate: Basic realm=box\r\n\r\n")
        await self._writer.drain()
        with contextlib.suppress(OSError):
            await self._reader.read()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._pass(data, writer)
        await self._still_there()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._still_there()
        self._heard = asyncio.get_running_loop().time()
        writer.write(data)
        await writer.drain()

    async def _still_there(self) -> None:
        if self._task in self._box._swallowed:
            await asyncio.Event().wait()  # until the box is closed
