"""The verbs that ask and tell a running publisher: ``status``, ``wake``, ``sleep``, ``reload``, ``logs``.

They speak to its control socket and to nothing else. What is asked for is on
stdout, everything about it on stderr; they leave with 1 when it was not done.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from publisher.cli.completion import published_names
from publisher.cli.printing import fail, say

if TYPE_CHECKING:
    from publisher.control.client import Running

WATCH_S = 1.0
INTERRUPTED = 130


def _which(verb: Callable) -> Callable:
    verb = click.option("--pid", type=int, help="The publisher with this process id, of several that run.")(verb)
    return click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
                        help="The publisher with this config file, of several that run.")(verb)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name_argument = click.argument("name", shell_complete=published_names)


@click.command()
@_which
@click.option("--watch", is_flag=True, help="Again every second, until interrupted.")
@_json_option
def status(config: Path | None, pid: int | None, watch: bool, as_json: bool) -> None:
    """Show brokers and LLMs of the publisher that runs here."""
    from publisher.cli.status_table import show

    with _errors():
        publisher = _running(config, pid)
        while True:
            told = publisher.status()
            if as_json:
                import msgspec

                click.echo(json.dumps(msgspec.to_builtins(told), ensure_ascii=True, indent=None if watch else 2))
            else:
                if watch and sys.stdout.isatty():
                    click.clear()
                show(told)
            if not watch:
                return
            sys.stdout.flush()
            time.sleep(WATCH_S)


@click.command()
@_name_argument
@_which
@_json_option
def wake(name: str, config: Path | None, pid: int | None, as_json: bool) -> None:
    """Wake an LLM, and wait until it answers."""
    with _errors(), _progress(f'waking "{name}"') as progress:
        ms = _running(config, pid).ask("wake", name=name, limit_s=None, waiting=progress)
    if as_json:
        click.echo(json.dumps({"name": name, "ms": ms}))
    else:
        say(f'"{name}" is awake' + (f" after {ms / 1000:.1f} s" if ms else ""))


@click.command()
@_name_argument
@_which
@_json_option
def sleep(name: str, config: Path | None, pid: int | None, as_json: bool) -> None:
    """Put an LLM to sleep, unless it has work."""
    with _errors(), _progress(f'"{name}" falls asleep') as progress:
        _running(config, pid).ask("sleep", name=name, limit_s=None, waiting=progress)
    if as_json:
        click.echo(json.dumps({"name": name}))
    else:
        say(f'"{name}" is asleep')


@click.command()
@_which
def reload(config: Path | None, pid: int | None) -> None:
    """Have the config file read again, secrets and variables included."""
    with _errors():
        _running(config, pid).ask("reload", limit_s=None)
    say("the config is read again")


@click.command()
@click.argument("name", required=False, shell_complete=published_names)
@_which
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="The last so many lines.")
def logs(name: str | None, config: Path | None, pid: int | None, follow: bool, lines: int) -> None:
    """Show the publisher's log, or with NAME the output of the server that its recipe runs."""
    from publisher.cli.log_lines import show_file, show_own

    with _errors():
        if name is None:
            show_own(_running(config, pid), lines, follow)
        else:
            show_file(name, config, pid, lines, follow)


VERBS = (status, wake, sleep, reload, logs)


def _running(config: Path | None, pid: int | None) -> Running:
    from publisher.control.client import running

    return running(config, pid)


@contextmanager
def _errors() -> Iterator[None]:
    """Every refusal is one line on stderr; to interrupt is no error to read about."""
    from publisher.config.values import ConfigError
    from publisher.control.client import NotFound
    from publisher.control.refused import Refused

    try:
        yield
    except (NotFound, Refused, ConfigError) as err:
        fail(str(err))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """How long it takes, in one line that is gone at the end; only on a terminal."""
    from publisher.terminal.printable import printable

    shown = 0

    def tell(s: float) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            line = printable(f"{what} ... {s:.0f} s", sys.stderr.encoding)[:70]
            click.echo("\r" + line, nl=False, err=True)
            shown = max(shown, len(line))

    try:
        yield tell
    finally:
        if shown:
            click.echo("\r" + " " * shown + "\r", nl=False, err=True)
