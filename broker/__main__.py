"""The ``broker`` command: up · serve · sweep · tokens · check, and the verbs that call a running broker (``cli/``)."""

from __future__ import annotations

import sys

import click

from broker import __version__
from broker.cli.verbs import Verbs


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="broker")
def main() -> None:
    """One stable HTTP address in front of LLMs that live at publishers.

    A broker's settings are environment variables (REDIS_URL, HOST, PORT, BROKER_…); flags come before them.
    get, describe, apply, edit, delete, task, explain, secret and chat call the broker at BROKER_URL.
    """


def _address(function):
    function = click.option("--port", type=int, help="Port to listen on (default 8080; 0: any free one).")(function)
    return click.option("--host", help="Address to listen on (default 127.0.0.1).")(function)


_data_dir = click.option(
    "--data-dir", type=click.Path(file_okay=False), envvar="REVEILLE_DATA_DIR",
    help="Where the embedded server keeps its data.",
)


@main.command()
@_address
@_data_dir
def up(host: str | None, port: int | None, data_dir: str | None) -> None:
    """Everything on one machine: the embedded server (unless REDIS_URL is set), one replica, the sweeper."""
    from broker import commands

    _run(commands.up(host=host, port=port, data_dir=data_dir))


@main.command()
@_address
@_data_dir
def serve(host: str | None, port: int | None, data_dir: str | None) -> None:
    """One HTTP replica, on REDIS_URL or on the embedded server of a running `broker up`."""
    from broker import commands

    _run(commands.serve(host=host, port=port, data_dir=data_dir))


@main.command()
@click.option("--once", is_flag=True, help="Sweep once and report.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@_data_dir
def sweep(once: bool, as_json: bool, data_dir: str | None) -> None:
    """The sweeper: stale rows turn inactive, rows inactive for too long are deleted."""
    from broker import commands

    _run(commands.sweep(once=once, as_json=as_json, data_dir=data_dir))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@_data_dir
def check(as_json: bool, data_dir: str | None) -> None:
    """What Redis this is, which durability is in force, what is wrong and how to mend it."""
    from broker import commands

    _run(commands.check(as_json=as_json, data_dir=data_dir))


@main.group()
def tokens() -> None:
    """Who may call: make, list and revoke tokens."""


@tokens.command("create")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(["client", "publisher", "admin"]))
@click.option("--owner", help="Who the token speaks for (default: its name).")
@click.option("--name", default="", help="A name to know it by.")
@click.option("--days", type=click.IntRange(1), help="Days until it expires (default: never).")
@click.option("--no-wake", is_flag=True, help="Its requests wake no LLM that sleeps.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_data_dir
def tokens_create(
    roles: tuple[str, ...], owner: str | None, name: str, days: int | None, no_wake: bool, as_json: bool, data_dir: str | None,
) -> None:
    """Make a token. It is shown once."""
    from broker import commands

    _run(commands.tokens_create(
        roles=list(roles), owner=owner, name=name, days=days, may_wake=not no_wake, as_json=as_json, data_dir=data_dir,
    ))


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_data_dir
def tokens_list(as_json: bool, data_dir: str | None) -> None:
    """Every token, without the token itself."""
    from broker import commands

    _run(commands.tokens_list(as_json=as_json, data_dir=data_dir))


@tokens.command("revoke")
@click.argument("token_id")
@_data_dir
def tokens_revoke(token_id: str, data_dir: str | None) -> None:
    """End a token, by its id; open connections lose it within seconds."""
    from broker import commands

    _run(commands.tokens_revoke(token_id, data_dir=data_dir))


def _run(command) -> None:
    """Runs a command's coroutine; what a person can mend is one line, not a traceback."""
    from broker import commands

    try:
        commands.run(command)
    except commands.MENDABLE as error:
        click.echo(f"broker: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="broker")
