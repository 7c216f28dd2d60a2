"""The command ``publisher``: what people type, and what they get told.

Flags come before the environment, the environment before the file. It loads the
HTTP client only once it is sure to run. Errors are one line on stderr, never a
traceback; they leave with 2 when something written is wrong, else with 1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from broker import __version__
from publisher.config import Config, ConfigError, Provider
from publisher.session import SessionFile, default_session_file

if TYPE_CHECKING:
    from publisher.life import Publisher

NOTHING_TO_DO = 1
BAD_CONFIG = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="publisher")
def publisher() -> None:
    """Publish the LLM server on this machine through a Reveille broker."""


@publisher.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
              help="Config file; by default publisher.json in the user's config directory, if it exists.")
@click.option("--broker", envvar="BROKER_URL", show_envvar=True, help="The broker's address.")
@click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="A publisher token of the broker.")
@click.option("--backend", help="Publish this LLM server, base URL including /v1, instead of the file's providers.")
@click.option("--model", help="With --backend: the model's name at that server.")
@click.option("--name", help="With --backend: the published name. [default: the model's]")
@click.option("--slots", type=click.IntRange(min=1), help="With --backend: requests at once. [default: 1]")
@click.option("--type", "kind", type=click.Choice(["openai"]), help="With --backend: the type of server.")
@click.option("--session-file", type=click.Path(path_type=Path), help="Where the session's id is kept.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON, one object per line.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option("--drain-seconds", type=click.FloatRange(min=0), default=30.0, show_default=True,
              help="How long running tasks may finish after a stop signal.")
def run(config: Path | None, broker: str | None, token: str | None, backend: str | None, model: str | None,
        name: str | None, slots: int | None, kind: str | None, session_file: Path | None, as_json: bool,
        quiet: bool, drain_seconds: float) -> None:
    """Publish, and serve what the broker sends, until stopped."""
    try:
        path = config or _default_config()
        told = _read(path) if path else Config()
        source = str(path.absolute()) if path else ""
        if backend:
            told = replace(told, providers=(_from_flags(backend, model, name, slots, kind),), agents=())
            source = f"{backend} {told.providers[0].name}"
        elif model or name or slots or kind:
            raise ConfigError("--model, --name, --slots and --type belong to --backend: give that too")
        told = replace(told, broker=broker or told.broker, token=token or told.token)
        _check_broker(told.broker)
    except ConfigError as err:
        _fail(str(err), BAD_CONFIG)
    if not told.providers:
        where = f'nothing in {path} has "publish": true' if path else "no config file and no --backend"
        _fail(f'nothing to publish: {where}. Set "publish": true on a provider, or give --backend and --model.',
              NOTHING_TO_DO)
    session = SessionFile(session_file or default_session_file(told.broker, source))
    sys.exit(_serve(told, session, as_json, quiet, drain_seconds))


def _serve(config: Config, session: SessionFile, as_json: bool, quiet: bool, drain_s: float) -> int:
    from publisher.life import Publisher
    from publisher.logs import set_up_logging
    from publisher.timers import Timers

    set_up_logging(as_json, quiet)

    async def live() -> int:
        life = Publisher(config, session, Timers(drain_s=drain_s))
        _stop_on_signals(life)
        return await life.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(live())


def _stop_on_signals(life: Publisher) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":  # its loops take no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(life.stop))
        else:
            loop.add_signal_handler(number, life.stop)


def _loop_factory():
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _default_config() -> Path | None:
    if sys.platform == "win32":
        home = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = home / "reveille" / "publisher.json"
    return path if path.is_file() else None


def _read(path: Path) -> Config:
    from publisher.config_file import read_config

    return read_config(path)


def _from_flags(backend: str, model: str | None, name: str | None, slots: int | None, kind: str | None) -> Provider:
    if not model:
        raise ConfigError("--backend needs --model, the model's name at that server")
    if not backend.startswith(("http://", "https://")):
        raise ConfigError(f'--backend {backend}: must be an address like "http://127.0.0.1:8000/v1"')
    return Provider(name=name or model, url=backend, model=model, type=kind or "openai", slots=slots or 1)


def _check_broker(url: str | None) -> None:
    if not url:
        raise ConfigError('no broker: give --broker, BROKER_URL or "broker" in the config file')
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f'broker {url}: must be an address like "https://broker.example"')


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"publisher: {message}", err=True)
    sys.exit(code)
