"""``broker task follow``: what happens to a durable task until it ends, and its answer.

On a terminal states and words are shown as they come; anything else gets the answer's words alone, at the end, and ``--json``
each event on a line. It only looks: a task goes on without it, and it goes on behind a connection that broke.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from .completion import tasks
from .kinds import PLURAL
from .options import connection, finish
from .printing import FAILED, answer, complain, say

if TYPE_CHECKING:
    from .api import Api, Where

_PATH = PLURAL["tasks"].path
#: Connections in a row that end at once; a second after each.
TRIES = 60
PAUSE_S = 1.0
LASTS_S = 5.0
#: A broker says something every few seconds.
SILENCE_S = 120.0


@click.command()
@click.argument("task", shell_complete=tasks)
@click.option("--after", default="", metavar="EVENT", help="With --json: only what comes after the event of that id.")
@click.option("--json", "as_json", is_flag=True, help="Every event as JSON on a line, as it comes.")
@connection
def follow(where: Where, task: str, after: str, as_json: bool) -> None:
    """Follow a task to its end, and print its answer; at once if it has ended.

    The exit code is 0 when it is done and 1 when it failed, is dead or was cancelled. Ctrl-C ends the following, not the
    task.
    """
    if after and not as_json:
        raise click.UsageError("--after goes with --json, which prints the ids of events")
    finish(followed(where, task.removeprefix("task/"), after=after, as_json=as_json))


async def followed(where: Where, task: str, *, after: str = "", as_json: bool = False) -> int:
    """The exit code. Raises Refused, Unreachable, Broken."""
    import asyncio

    from .api import Api

    shown = Lines() if as_json else Words() if sys.stdout.isatty() else Nothing()
    async with Api(where) as api:
        try:
            end = await _to_its_end(api, task, after, shown)
        except asyncio.CancelledError:
            shown.pause()
            say(f"task/{task} goes on; `broker task follow {task}` shows the rest, `broker task cancel {task}` ends it", dim=True, err=True)
            raise
        shown.pause()
        if end["state"] != "done":
            complain(await _why(api, end))
            return FAILED
        if not shown.said:
            from .answers import text

            answer(text(*await api.kept(end["result"]["url"], end["result"]["status"])))
    return 0


class Lines:
    """Prints each event as JSON. ``said``: the answer is out."""

    said = True

    def __call__(self, number: str, event: str, data: str) -> None:
        try:
            told = json.loads(data)
        except ValueError:
            told = data
        click.echo(json.dumps({"id": number, "event": event or "message", "data": told}))
        sys.stdout.flush()

    def pause(self) -> None:
        """Every line has its end."""


class Nothing:
    """Waits for the end."""

    said = False

    def __call__(self, number: str, event: str, data: str) -> None:
        """The answer is read when it is whole."""

    def pause(self) -> None:
        """There is nothing on the screen."""


class Words:
    """Shows states, dim, and the words of a streamed answer as they come."""

    def __init__(self) -> None:
        from .spoken import Screen

        self._screen = Screen()
        self.said = False

    def __call__(self, number: str, event: str, data: str) -> None:
        from .answers import words_of

        if event == "state":
            self.pause()
            if number.endswith("-end"):  # what it said is void
                self.said = False
            if told := _standing(json.loads(data), number):
                say(told, dim=True, err=True)
        elif words := words_of(data):
            self._screen("text", {"text": words})
            self.said = True

    def pause(self) -> None:
        """Ends the line, if one is begun."""
        self._screen.end()


async def _to_its_end(api: Api, task: str, after: str, shown: Lines | Nothing | Words) -> dict:
    """The task as it ended. Raises Refused, Unreachable, Broken."""
    import asyncio

    from .api import Broken, Refused, Unreachable, segment

    path = f"{_PATH}/{segment(task)}/events"
    tries, met = 0, False
    while True:
        began = time.monotonic()
        try:
            async with api.stream("GET", path, silence_s=SILENCE_S, **({"Last-Event-ID": after} if after else {})) as stream:
                met = True
                async for number, event, data in stream.events():
                    if event == "error":
                        raise _refused(json.loads(data)["error"])
                    after, tries = number or after, 0
                    shown(number, event, data)
                    if event == "state" and number.endswith("-last"):
                        return json.loads(data)
            # All of it may have been before `after`.
            row = await api.get(f"{_PATH}/{segment(task)}")
            if row["endedAt"]:
                return row
            raise Broken(f"the events of task/{task} break off; it is {row['state']}")
        except (Broken, Unreachable, Refused) as error:
            tries = 1 if time.monotonic() - began > LASTS_S else tries + 1
            if not met or tries > TRIES or isinstance(error, Refused) and error.status < 500:
                raise
            if tries == 2:
                shown.pause()
                complain(f"{error}; it is tried again for a minute")
        await asyncio.sleep(PAUSE_S)


def _refused(error: dict) -> Exception:
    from .api import Refused

    return Refused(error.get("status") or 500, str(error.get("code") or ""), str(error.get("message")))


def _standing(task: dict, number: str) -> str:
    """How it stands after the state's event of that id; '' at its end, of which more is said."""
    attempt, _, what = number.partition("-")
    if what == "last":
        return ""
    if what == "end":
        return f"attempt {attempt} ended with {_told(task['attempts'][int(attempt) - 1])}; it is tried again"
    if task["state"] == "running":
        return f"attempt {attempt} runs"
    return "queued" + (f", place {task['position']}" if task["position"] else "")


def _told(attempt: dict) -> str:
    who = f" at {attempt['llm']}" if attempt["llm"] else ""
    return f"{attempt['code'] or attempt['status']}{who}" + (f": {attempt['message']}" if attempt["message"] else "")


async def _why(api: Api, task: dict) -> str:
    """Why there is no good answer, and what to do."""
    from .answers import refusal

    name, error = task["id"], task["error"]
    said = f": {error['message'] or error['code']}" if error else ""
    if task["state"] == "cancelled":
        return f"task/{name} was cancelled"
    if task["result"]:
        _, body = await api.kept(task["result"]["url"], task["result"]["status"])
        return f"task/{name} failed: the LLM answered {task['result']['status']}: {refusal(body)}"
    if task["deadline"] and task["deadline"] <= task["endedAt"]:
        return f"task/{name} is {task['state']}{said}; submit it again with more time"
    stands = "failed" if task["state"] == "failed" else f"is {task['state']} after {len(task['attempts'])} attempts"
    return f"task/{name} {stands}{said}; `broker task retry {name}` tries it anew"
