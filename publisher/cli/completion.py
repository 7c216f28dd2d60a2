"""``publisher completion``, and what it completes: the names of what is published.

The script itself is click's. Completing never prints an error and never takes long.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
LIMIT_S = 0.3
HOW = {
    "bash": "# Load it from ~/.bashrc:  eval \"$(publisher completion bash)\"",
    "zsh": "# Load it from ~/.zshrc, after compinit:  eval \"$(publisher completion zsh)\"",
    "fish": "# Load it:  publisher completion fish > ~/.config/fish/completions/publisher.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names in a shell."""
    made = get_completion_class(shell)(ctx.find_root().command, {}, "publisher", "_PUBLISHER_COMPLETE")
    click.echo(HOW[shell])
    # Not source(), which for bash runs bash to see how old it is.
    click.echo(made.source_template % made.source_vars())


def published_names(ctx: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    """As the running publisher tells them, else as they are in the config."""
    try:
        rows = _running(ctx.params.get("config"), ctx.params.get("pid")) or _written(ctx.params.get("config"))
    except Exception:  # at a press of a key there is nobody to read it
        return []
    return [CompletionItem(name, help=told) for name, told in rows if name.startswith(begun)]


def _running(config: Path | None, pid: int | None) -> list[tuple[str, str]]:
    from publisher.control.client import NotFound, running
    from publisher.control.refused import Refused

    try:
        return [(row.name, row.state) for row in running(config, pid, LIMIT_S).status(LIMIT_S).rows]
    except (NotFound, Refused):
        return []


def _written(config: Path | None) -> list[tuple[str, str]]:
    from publisher.config.file import read_config
    from publisher.find.place import default_config

    path = config or default_config()
    return [(provider.name, "") for provider in read_config(path).providers if not provider.patterns] if path else []
