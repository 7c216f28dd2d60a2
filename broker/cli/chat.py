"""``broker chat``: a conversation with an agent or an LLM, typed or piped.

On a terminal it goes on until it is ended; with anything else as stdin or stdout that
is one message, and only its answer is printed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from .completion import personalities, who_chats
from .options import connection, finish, refuse
from .printing import answer, complain, say

if TYPE_CHECKING:
    import asyncio

    from .api import Api, Where
    from .talk import WithAgent, WithLLM

SHOWN = 20
HELP = """\
/new      begins another conversation
/explain  says why the last answer came from whom it did, where several could have given it
/exit     ends, as Ctrl-D does
Ctrl-C cancels an answer; twice at the prompt it ends. A message that begins with / wants a space before it."""


@click.command()
@click.argument("name", metavar="AGENT|LLM", shell_complete=who_chats)
@click.option("--thread", metavar="ID", help="Go on with that thread, of an agent's.")
@click.option("--new", is_flag=True, help="Begin another thread. On a terminal, without it the agent's newest one goes on; a piped message always begins one.")
@click.option("--personality", metavar="NAME", shell_complete=personalities, help="In the place of the agent's own; '' for none.")
@connection
def chat(where: Where, name: str, thread: str | None, new: bool, personality: str | None) -> None:
    """Talk to an agent, or to an LLM by its name, an alias, a pool or its model.

    An agent's conversation is a thread at the broker, one with an LLM is gone at the end. `agent/NAME` and `llm/NAME`
    say which is meant, where there are both. Piped, stdin is one message and the answer is all that is printed.
    """
    if thread and new:
        raise click.UsageError("--thread goes on, --new begins: give one of them")
    if sys.stdin.isatty() and sys.stdout.isatty():
        sys.exit(_typed(where, name, thread, new, personality))
    finish(_piped(where, name, thread, personality))


async def _piped(where: Where, name: str, thread: str | None, personality: str | None) -> None:
    import asyncio

    from .api import Broken, Misused, Refused, Unreachable

    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Misused(f"stdin is not UTF-8 (byte {error.start})") from None
    if not text.strip():
        raise Misused("stdin is empty; it is the message")
    talk = await _with(where, name, thread, True, personality)
    try:
        said = await talk.ask(text, _only_warn)
    except asyncio.CancelledError:  # Ctrl-C
        with contextlib.suppress(Broken, Refused, Unreachable):
            await talk.cancel()
        raise
    answer(said)


def _only_warn(event: str, data: dict) -> None:
    if event == "warning":
        complain(str(data.get("message")))


async def _with(where: Where, name: str, thread: str | None, new: bool, personality: str | None) -> WithAgent | WithLLM:
    """Whoever is called so. Raises Refused, Unreachable, Misused."""
    from .api import Api, Misused
    from .talk import WithAgent, WithLLM
    from .who import AGENT, who

    async with Api(where) as api:
        kind, found = await who(api, name)
        if kind == AGENT:
            return WithAgent(where, found, personality, await _thread(api, found, thread, new))
    if thread or personality is not None:
        raise Misused(f"--thread and --personality are for agents; {found!r} is an LLM")
    return WithLLM(where, found)


async def _thread(api: Api, agent: str, thread: str | None, new: bool) -> dict | None:
    """The thread that goes on."""
    from .api import Misused, segment

    if thread:
        found = await api.get(f"/api/v1/threads/{segment(thread)}")
        if found["agent"] != agent:
            raise Misused(f"the thread {thread} is with the agent {found['agent']!r}, not with {agent!r}")
        return found
    if new:
        return None
    newest = await api.get(f"/api/v1/agents/{segment(agent)}/threads", limit="1")
    return newest["data"][0] if newest["data"] else None


def _typed(where: Where, name: str, thread: str | None, new: bool, personality: str | None) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # input() edits lines with it
    import asyncio

    with asyncio.Runner() as runner:
        try:
            talk = runner.run(_with(where, name, thread, new, personality))
            _show_earlier(runner, talk)
        except KeyboardInterrupt:
            return 0
        except Exception as error:
            refuse(error)
        return _loop(runner, talk)


def _show_earlier(runner: asyncio.Runner, talk: WithAgent | WithLLM) -> None:
    from .spoken import tell

    earlier = runner.run(talk.earlier())
    if earlier:
        left_out = len(earlier) - SHOWN
        before = f", {left_out} messages before these" if left_out > 0 else ""
        say(f"thread {talk.thread['id']}{before}; /new begins another", dim=True)
    for message in earlier[-SHOWN:]:
        tell(message)


def _loop(runner: asyncio.Runner, talk: WithAgent | WithLLM) -> int:
    """Reads lines and shows answers until it is ended."""
    interrupted = False
    say("/help tells what can be typed; Ctrl-D ends", dim=True)
    while True:
        try:
            text = input("> ")
            interrupted = False
            if text.strip() in ("/exit", "/quit"):
                return 0
            if text.strip() == "/explain":
                _explain(runner, talk)
            elif text.strip() and not _obeyed(text, talk):
                _answer(runner, talk, text)
        except EOFError:
            say()
            return 0
        except KeyboardInterrupt:
            say()
            if interrupted:
                return 0
            interrupted = True
            say("Ctrl-C again, or Ctrl-D, ends", dim=True)


def _obeyed(text: str, talk: WithAgent | WithLLM) -> bool:
    """Whether the line was a command, or looked like one."""
    if not text.startswith("/"):
        return False
    word = text.split()[0]
    if word == "/new":
        talk.forget()
        say("another conversation begins", dim=True)
    else:
        say(HELP if word == "/help" else f"{word} is no command.\n{HELP}", dim=True)
    return True


def _explain(runner: asyncio.Runner, talk: WithAgent | WithLLM) -> None:
    from .api import Broken, Refused, Unreachable
    from .explain import tell

    try:
        tell(runner.run(talk.explained()))
    except (Broken, Refused, Unreachable) as error:
        complain(str(error))


def _answer(runner: asyncio.Runner, talk: WithAgent | WithLLM, text: str) -> None:
    from .api import Broken, Refused, Unreachable
    from .spoken import Screen

    screen = Screen()
    try:
        runner.run(talk.ask(text.strip().encode("utf-8", "replace").decode(), screen))
        screen.end()
    except KeyboardInterrupt:
        screen.end()
        with contextlib.suppress(KeyboardInterrupt, Broken, Refused, Unreachable):
            runner.run(talk.cancel())
        say("cancelled", dim=True)
    except (Broken, Refused, Unreachable) as error:
        screen.end()
        complain(str(error))
