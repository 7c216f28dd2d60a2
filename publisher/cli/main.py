"""The command ``publisher`` and its verbs. Each verb is loaded when it is called: a start loads one of them."""

from __future__ import annotations

from importlib import import_module

import click

from broker import __version__

#: verb → the module and what it is called there, in the order of the help.
VERBS = {
    "run": "publisher.cli.run:run",
    "init": "publisher.cli.find:init",
    "detect": "publisher.cli.find:detect",
    "check": "publisher.cli.check:check",
    "status": "publisher.cli.by_hand:status",
    "wake": "publisher.cli.by_hand:wake",
    "sleep": "publisher.cli.by_hand:sleep",
    "reload": "publisher.cli.by_hand:reload",
    "logs": "publisher.cli.by_hand:logs",
    "service": "publisher.cli.unit:service",
    "schema": "publisher.cli.schema:schema",
    "completion": "publisher.cli.completion:completion",
}


class Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, command = VERBS[name].partition(":")
        return getattr(import_module(module), command)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="publisher")
def publisher() -> None:
    """Publish the LLM server on this machine through a Reveille broker."""
