"""``broker completion``, and what it completes: kinds, and names as the broker has them just now.

The scripts for zsh and fish are click's; bash has one of ours. Completing never
prints an error and never takes long.
"""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
LIMIT_S = 1.0
HOW = {
    "bash": "# Load it from ~/.bashrc:  eval \"$(broker completion bash)\"",
    "zsh": "# Load it from ~/.zshrc, after compinit:  eval \"$(broker completion zsh)\"",
    "fish": "# Load it:  broker completion fish > ~/.config/fish/completions/broker.fish",
}
#: Click's own would part names like "qwen3:8b" at the colon, as bash does, and leave spaces and quotes as they are.
BASH = r"""_broker_completion() {
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
        _BROKER_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _broker_completion broker 2>/dev/null || complete -F _broker_completion broker
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
    click.echo(get_completion_class(shell)(ctx.find_root().command, {}, "broker", "_BROKER_COMPLETE").source())


def row_names(ctx: click.Context, argument: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of the kind that stands before; of kinds without names, ids."""
    kind = ctx.params.get("kind")
    given = ctx.params.get(argument.name) or ()
    return _matching(ctx, [kind.plural] if kind else [], begun, given if isinstance(given, tuple) else ())


def who_chats(ctx: click.Context, argument: click.Parameter, begun: str) -> list[CompletionItem]:
    return _matching(ctx, ["agents", "llms", "pools"], begun, ())


def personalities(ctx: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    return _matching(ctx, ["personalities"], begun, ())


def secrets(ctx: click.Context, argument: click.Parameter, begun: str) -> list[CompletionItem]:
    return _matching(ctx, ["secrets"], begun, ())


def tasks(ctx: click.Context, argument: click.Parameter, begun: str) -> list[CompletionItem]:
    given = ctx.params.get(argument.name) or ()
    return _matching(ctx, ["tasks"], begun, given if isinstance(given, tuple) else ())


def _matching(ctx: click.Context, kinds: list[str], begun: str, given: tuple[str, ...]) -> list[CompletionItem]:
    try:
        return [CompletionItem(name) for name in _names(ctx, kinds) if name.startswith(begun) and name not in given]
    except Exception:  # at a press of a key there is nobody to read it
        return []


def _names(ctx: click.Context, kinds: list[str]) -> list[str]:
    import asyncio

    from .api import Api, Refused, Where
    from .kinds import PLURAL
    from .options import BROKER
    from .rows import every

    async def ask() -> list[str]:
        where = Where(ctx.params.get("broker") or BROKER, ctx.params.get("token"), LIMIT_S)
        async with asyncio.timeout(LIMIT_S), Api(where) as api:
            found: list[str] = []
            for kind in kinds:
                with suppress(Refused):  # pools are an admin's
                    found += [row.get("name") or row["id"] for row in await every(api, PLURAL[kind], most=50)]
            return found

    return asyncio.run(ask())
