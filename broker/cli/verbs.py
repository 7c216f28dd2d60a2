"""The verbs that call a running broker. Each is loaded when it is called; nothing else is decided here."""

from __future__ import annotations

from importlib import import_module

import click

#: verb → the module and what it is called there.
VERBS = {
    "get": "broker.cli.get:get",
    "describe": "broker.cli.describe:describe",
    "apply": "broker.cli.apply:apply",
    "edit": "broker.cli.edit:edit",
    "delete": "broker.cli.delete:delete",
    "chat": "broker.cli.chat:chat",
    "task": "broker.cli.task:task",
    "explain": "broker.cli.explain:explain",
    "secret": "broker.cli.secret:secret",
    "completion": "broker.cli.completion:completion",
}


class Verbs(click.Group):
    """A group that has these verbs besides its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self.commands, *VERBS])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return super().get_command(ctx, name)
        module, _, command = VERBS[name].partition(":")
        return getattr(import_module(module), command)
