"""Runs a replica as a process: listens, says where, and on SIGTERM leaves in order.

First no new connections, then publishers are sent to the other replicas, if
there are any, then running requests may end, then the rest is told why.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from broker.app import Broker
from broker.errors import StoreUnavailable
from broker.http.auth import is_loopback
from broker.http.edge import Runner
from broker.open_store import open_store
from broker.settings import BadSettings, Settings
from broker.store.address import Address
from broker.store.tokens import Tokens

log = logging.getLogger(__name__)


async def serve(settings: Settings, address: Address, *, key_file: Path | None, files_dir: Path, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; ``ready`` is told the URL once it listens. A second
    signal ends it at once. Raises BadSettings, BadKey."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    _on_signals(stop, hurry)
    store = open_store(settings, address)
    try:
        await _check_openness(settings, store.tokens)
        broker = Broker(settings, store, key_file=key_file, files_dir=files_dir)
        runner = Runner(broker.app, keepalive_timeout=settings.keepalive_seconds)
        await runner.setup()
        try:
            async with broker.running():
                site = web.SockSite(runner, _listen(settings.host, settings.port), backlog=1024)
                await site.start()
                ready(_url(settings.host, site._sock.getsockname()[1]))
                # What is there now stays: the collector need not look at it for ever.
                gc.collect()
                gc.freeze()
                gc.set_threshold(20_000, 20, 50)
                await stop.wait()
                log.info("stopping", extra={"running": broker.relay.running})
                await site.stop()
                draining = asyncio.create_task(broker.drain(settings.shutdown_seconds))
                hurrying = asyncio.create_task(hurry.wait())
                await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
                draining.cancel()
                hurrying.cancel()
                await runner.cleanup()
        finally:
            await runner.cleanup()
    finally:
        await store.close()


async def _check_openness(settings: Settings, tokens: Tokens) -> None:
    if settings.auth == "required":
        return
    try:
        if await tokens.exist():
            return
    except StoreUnavailable:
        # Beyond loopback the door asks for tokens whether or not there are any; so it is safe to listen.
        log.warning("Redis does not answer yet, so nobody is let in until it does")
        return
    if not is_loopback(settings.host):
        raise BadSettings(
            f"--host {settings.host} can be reached from elsewhere and there are no tokens yet.\n"
            "Make one first: broker tokens create --role client (and --role publisher, --role admin)."
        )
    log.warning("open: no tokens, so everybody on this machine may do everything; `broker tokens create` ends that")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BadSettings(f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port or --host") from None
    return sock


def _url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _on_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, signalled)
