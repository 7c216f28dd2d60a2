"""``publisher run``: what people type, and what they get told before anything runs.

Flags come before the environment, the environment before the file. Errors are one
line on stderr, never a traceback; they leave with 2 when something written is
wrong, else with 1.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from publisher.backends.types import TYPES
from publisher.cli.told import Backend, Told
from publisher.config.values import BrokerAddress, Config, ConfigError
from publisher.find.place import default_config
from publisher.tools.installed import NEEDED, sdk_is_here

NOTHING_TO_DO = 1
BAD_CONFIG = 2
NO_BROKER = 'no broker: give --broker, BROKER_URL or "broker" in the config file'


@click.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
              help="Config file, JSON or YAML; by default the one in the user's config directory, if it exists.")
@click.option("--broker", envvar="BROKER_URL", show_envvar=True, help="The broker's address.")
@click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="A publisher token of the broker.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file that holds it.  [env var: BROKER_TOKEN_FILE]")
@click.option("--ca-file", help="Certificates to trust besides the system's, for the broker (PEM).")
@click.option("--proxy", help='HTTP proxy on the way to the broker; "none" for none.  [default: the environment\'s]')
@click.option("--backend", help="Publish this LLM server instead of the file's providers.")
@click.option("--type", "kind", type=click.Choice(TYPES), help="With --backend, or alone for its usual address.")
@click.option("--model", help="With --backend: the model's name at that server, or a pattern such as '*'.")
@click.option("--name", help="With --backend: the published name.  [default: the model's]")
@click.option("--slots", type=click.IntRange(min=1), help="With --backend: requests at once.  [default: as the server tells, else 1]")
@click.option("--session-file", type=click.Path(path_type=Path), help="Where the session's id is kept.")
@click.option("--plain", is_flag=True, help="Plain log lines also on a terminal, no live view.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON, one object per line.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option("--drain-seconds", type=click.FloatRange(min=0), default=30.0, show_default=True,
              help="How long running tasks may finish after a stop signal.")
def run(config: Path | None, broker: str | None, token: str | None, token_file: Path | None, ca_file: str | None,
        proxy: str | None, backend: str | None, kind: str | None, model: str | None, name: str | None,
        slots: int | None, session_file: Path | None, plain: bool, as_json: bool, quiet: bool,
        drain_seconds: float) -> None:
    """Publish, and serve what the broker sends, until stopped."""
    told = Told(config or default_config(), broker, token, token_file, ca_file, proxy,
                Backend(backend, kind, model, name, slots))
    try:
        read, files = told.read()
        if not read.publishes:
            read = _instead(told, read)
        elif not read.providers and not sdk_is_here():
            _fail(f"nothing to publish: {NEEDED}", NOTHING_TO_DO)
        if not read.brokers:
            raise ConfigError(NO_BROKER)
        from publisher.cli.running import Running

        running = Running(told, read, files, session_file, as_json, quiet, plain, drain_seconds)
    except ConfigError as err:
        _fail(str(err), BAD_CONFIG)
    sys.exit(running.until_stopped())


def _instead(told: Told, read: Config) -> Config:
    """With nothing configured, what is found on this machine is offered."""
    if told.path is not None:
        _fail(f'nothing to publish: nothing in {told.path} has "publish": true. Set it on a provider, or give '
              "--backend and --model.", NOTHING_TO_DO)
    from publisher.find.offer import offered

    broker: BrokerAddress | None = read.brokers[0] if read.brokers else None
    found = offered(broker)
    if found is None:
        sys.exit(NOTHING_TO_DO)
    return replace(read, brokers=found.brokers, providers=found.providers)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"publisher: {message}", err=True)
    sys.exit(code)
