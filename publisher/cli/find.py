"""The verbs ``detect`` and ``init``: what they are told by flags, and how they end.

Nothing heavy is loaded before it is sure that it is needed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from publisher.backends.types import TYPES
from publisher.config.values import ConfigError
from publisher.find.asking import Terminal, on_terminal
from publisher.find.place import new_config

NOTHING_FOUND = 1
BAD_CONFIG = 2


@click.command()
@click.option("--host", "hosts", multiple=True, help="Look at this host instead of this machine; may be repeated.")
@click.option("--port", "ports", multiple=True, type=click.IntRange(1, 65535),
              help="Look at this port instead of the usual ones; may be repeated.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
              help="Seconds that each question may take.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def detect(hosts: tuple[str, ...], ports: tuple[int, ...], timeout_s: float, as_json: bool) -> None:
    """Find the LLM servers that could be published."""
    from publisher.find.detect import look
    from publisher.find.listing import nothing, table

    try:
        sight = asyncio.run(look(hosts or None, ports or None, timeout_s))
    except ConfigError as err:
        _fail(str(err), BAD_CONFIG)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(sight.found), indent=2, ensure_ascii=False))
    else:
        for line in table(sight.found) if sight.found else ():
            click.echo(line)
    for url in sight.brokers:
        click.echo(f"A Reveille broker answers at {url}: publish there, it is no LLM server.", err=True)
    if not sight.found:
        _fail(nothing(sight), NOTHING_FOUND)


@click.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
              help="The file to write. [default: publisher.yaml in the user's config directory]")
@click.option("--broker", envvar="BROKER_URL", show_envvar=True, help="The broker's address.")
@click.option("--token", envvar="BROKER_TOKEN", show_envvar=True,
              help="A publisher token; it is kept in a file of its own beside the config.")
@click.option("--token-file", type=click.Path(path_type=Path), envvar="BROKER_TOKEN_FILE", show_envvar=True,
              help="The file that holds the token; the config will name it.")
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES),
              help="Publish this type of server instead of what is found.")
@click.option("--url", "urls", multiple=True, help="The address of that server.")
@click.option("--model", "models", multiple=True, help="The model's name there. [default: all that it tells]")
@click.option("--name", "names", multiple=True, help="The published name. [default: the model's]")
@click.option("--api-key-file", type=click.Path(path_type=Path),
              help="With --type or --url: the file that holds its key.")
@click.option("--idle-seconds", "idle_s", type=click.FloatRange(min=0, min_open=True),
              help="Unload models after so long without a request, where the server can do that.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def init(config: Path | None, broker: str | None, token: str | None, token_file: Path | None, types: tuple[str, ...],
         urls: tuple[str, ...], models: tuple[str, ...], names: tuple[str, ...], api_key_file: Path | None,
         idle_s: float | None, yes: bool, force: bool) -> None:
    """Write a config file for what runs on this machine.

    --type, --url, --model and --name may be repeated, for one entry each in
    their order; a --type or --url given once holds for all. Without them it is
    about what "publisher detect" finds, and asks if somebody is at the terminal.
    """
    from publisher.find.new_file import secret_in
    from publisher.find.setup import NothingToPublish, Setup
    from publisher.find.wishes import Wishes, servers

    try:
        told = click.get_current_context().get_parameter_source
        if token_file and token:
            # A flag comes before the environment; of two flags one is too many.
            if told("token") == told("token_file"):
                raise ConfigError("--token and --token-file: give one of them")
            token, token_file = (token, None) if told("token") is _FLAG else (None, token_file)
        wanted = servers(types, urls, models, names)
        if api_key_file and not wanted:
            raise ConfigError("--api-key-file belongs to --type or --url: give that too")
        token = secret_in(token_file) if token_file else token
        wishes = Wishes(broker, token, token_file, wanted, api_key_file, idle_s)
        ask = Terminal() if on_terminal() and not (yes or wanted) else None
        Setup(config or new_config(), wishes, force, ask).run()
    except NothingToPublish as err:
        _fail(str(err), NOTHING_FOUND)
    except ConfigError as err:
        _fail(str(err), BAD_CONFIG)


_FLAG = click.core.ParameterSource.COMMANDLINE


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"publisher: {message}", err=True)
    sys.exit(code)
