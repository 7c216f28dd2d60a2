"""``publisher completion``, and what it completes: the names of what is published.

The scripts for zsh and fish are click's; bash has one of ours. Completing never
prints an error and never takes long.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
LIMIT_S = 1.0
HOW = {
    "bash": "# Load it from ~/.bashrc:  eval \"$(publisher completion bash)\"",
    "zsh": "# Load it from ~/.zshrc, after compinit:  eval \"$(publisher completion zsh)\"",
    "fish": "# Load it:  publisher completion fish > ~/.config/fish/completions/publisher.fish",
}
#: Click's own would part names like "qwen3:8b" at the colon, as bash does, and leave spaces and quotes as they are.
BASH = r"""_publisher_completion() {
    local word="" given="" rest="${COMP_LINE:0:COMP_POINT}" reply n
    local -a words=()
    COMPREPLY=()
    # Bash parts words at ":" and "=" too: together again what has no space between, up to the cursor.
    for ((n = 0; n <= COMP_CWORD; n++)); do
        if [[ $n == 0 || $rest == [[:space:]]* ]]; then
            words+=("$word") word=""
        fi
        rest="${rest#"${rest%%[![:space:]]*}"}"
        given="$word"
        if [[ $n == "$COMP_CWORD" ]]; then word+="$rest"; else word+="${COMP_WORDS[n]}"; fi
        [[ $rest == [:=]* && $n == "$COMP_CWORD" ]] && given="$word"
        rest="${rest#"${COMP_WORDS[n]}"}"
    done
    words+=("$word")
    words=("${words[@]:1}")
    while IFS= read -r reply; do
        case "$reply" in
            dir,*) compopt -o dirnames 2>/dev/null ;;
            file,*) compopt -o default 2>/dev/null ;;
            plain,*)
                reply="${reply#plain,}"
                # A name may be anybody's: in no quotes may the shell find anything in it to run.
                case "$word" in
                    \"*)
                        reply=${reply//\\/\\\\} reply=${reply//\"/\\\"} reply=${reply//\$/\\\$} reply=${reply//\`/\\\`}
                        reply=${reply//\!/\"\'\!\'\"}
                        ;;
                    \'*) reply=${reply//\'/\'\\\'\'} ;;
                    *) printf -v reply %q "$reply" ;;
                esac
                COMPREPLY+=("${reply#"$given"}")
                ;;
        esac
    done < <(IFS=$'\n'; env COMP_WORDS="${words[*]}" COMP_CWORD="$((${#words[@]} - 1))" \
        _PUBLISHER_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _publisher_completion publisher 2>/dev/null || complete -F _publisher_completion publisher
"""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names in a shell."""
    click.echo(HOW[shell])
    if shell == "bash":
        click.echo(BASH, nl=False)
        return
    click.echo(get_completion_class(shell)(ctx.find_root().command, {}, "publisher", "_PUBLISHER_COMPLETE").source())


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
