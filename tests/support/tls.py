"""A Redis behind TLS.

The bundled server program is built without TLS, so a small proxy ends it in
front of an ordinary server. What is tested is our side: contexts, URL options,
names in certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .servers import Server, single_server


@dataclass
class TlsServer:
    """``url`` names ``localhost``, the name in the certificate; so does ``authority``'s
    file, which is the certificate itself."""

    server: Server
    port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}?ssl_ca_certs={self.authority}"


@contextlib.contextmanager
def tls_server(tmp: Path) -> Iterator[TlsServer]:
    certificate, key = _certificate(tmp)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with single_server(tmp) as server, _proxy(server.path, context) as port:
        yield TlsServer(server, port, certificate)


@contextlib.contextmanager
def _proxy(path: str, context: ssl.SSLContext) -> Iterator[int]:
    """Runs beside the test in a thread of its own; yields its port."""
    ready = threading.Event()
    state: dict = {}

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            writer.close()
            inner_writer.close()

    async def serve() -> None:
        state["loop"], state["over"] = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
        state["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await state["over"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield state["port"]
    finally:
        state["loop"].call_soon_threadsafe(state["over"].set)
        thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


def _certificate(tmp: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("making a certificate needs the openssl program")
    certificate, key = tmp / "server.crt", tmp / "server.key"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
