"""One ``publisher run``: the publisher and what stands around it, from the first line to the exit code.

Log or live view, control socket, reload, signals, the word to systemd. It knows
what each is for and nothing of how it works.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from publisher.activity import Activity
from publisher.cli.told import Told
from publisher.commands import Commands
from publisher.config.values import BrokerAddress, Config, ConfigError
from publisher.control.log_ring import LogRing
from publisher.control.place import Place
from publisher.control.server import Control
from publisher.life import Publisher
from publisher.link.connector import Way
from publisher.link.session import SessionFile, session_file_for
from publisher.logs import set_up_logging
from publisher.reload import Reload
from publisher.terminal.request_lines import RequestLines
from publisher.terminal.suits import has_view, suits_view
from publisher.timers import Timers
from publisher.unit.notify import notify

log = logging.getLogger("publisher")


class Running:
    """Raises ``ConfigError`` for a way to a broker that cannot be."""

    def __init__(
        self, told: Told, config: Config, files: tuple[Path, ...], session_file: Path | None, as_json: bool,
        quiet: bool, plain: bool, drain_s: float,
    ) -> None:
        _check_ways(config)
        self._told = told
        self._config = config
        self._files = files
        self._session_file = session_file
        self._as_json = as_json
        self._quiet = quiet
        wanted = not (as_json or quiet or plain) and suits_view(sys.stderr)
        self._view = wanted and has_view()
        self._misses_view = wanted and not self._view
        self._drain_s = drain_s

    def until_stopped(self) -> int:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(self._run())

    async def _run(self) -> int:
        source = self._told.source if self._told.backend.given or self._told.path else "found here"
        publisher = Publisher(
            self._config,
            lambda address: self._session_of(address, source),
            Timers(drain_s=self._drain_s),
            Activity(),
            config_path=str(self._told.path or ""),
            registered=lambda: notify("READY=1"),
        )
        reload = Reload(self._read_again, self._files, publisher.apply, publisher.bad_config)
        ring = LogRing()
        beside = [
            reload.run(),
            Control(Place.of(self._place(), source), Commands(publisher, ring, reload)).run(),
        ]
        handler = None
        if self._view:
            from publisher.terminal.view import View  # only here: its library costs memory

            view = View(publisher.status, publisher.activity)
            handler = view.log_handler()
            beside.append(view.run())
        set_up_logging(self._as_json, self._quiet, handler)
        logging.getLogger("publisher").addHandler(ring)
        if self._misses_view:
            log.info("for the live view: pip install 'reveille[terminal]' (--plain ends this line)")
        lines = RequestLines(publisher.activity)
        _heed_signals(publisher, reload)
        tasks = [asyncio.create_task(one) for one in beside]
        try:
            return await publisher.run()
        finally:
            lines.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _session_of(self, address: BrokerAddress, source: str) -> SessionFile:
        return session_file_for(address.url, len(self._config.brokers), self._session_file, source)

    def _place(self) -> Path | None:
        return None if self._told.backend.given else self._told.path

    def _read_again(self) -> tuple[Config, tuple[Path, ...]]:
        if self._place() is None and not self._told.backend.given:
            raise ConfigError("there is no config file: what is published was found at the start; publisher init writes one")
        config, files = self._told.read()
        if not config.brokers:
            raise ConfigError("it names no broker")
        if not config.publishes:
            raise ConfigError('nothing in it has "publish": true')
        _check_ways(config)
        self._config = config
        return config, files


def _check_ways(config: Config) -> None:
    for address in config.brokers:
        Way.of(address)


def _heed_signals(publisher: Publisher, reload: Reload) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notify("STOPPING=1")
        publisher.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":  # its loops take no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        else:
            loop.add_signal_handler(number, stop)
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGHUP, reload.ask)


def _loop_factory():
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
