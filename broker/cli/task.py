"""``broker task``: durable tasks, submitted and followed (``submit.py``, ``follow.py``), cancelled, tried anew, forgotten.

`get tasks` lists them and `describe task` tells all of one; this only acts, and prints answers.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from .completion import tasks
from .follow import follow
from .kinds import PLURAL, STATES
from .options import connection, finish
from .printing import FAILED, complain, say
from .submit import submit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .api import Api, Where

_PATH = PLURAL["tasks"].path
#: In which nothing happens to a task any more.
ENDED = tuple(state for state in STATES if state not in ("queued", "running"))
_json = click.option("--json", "as_json", is_flag=True, help="What the API answers, on one line each.")
_names = click.argument("tasks", nargs=-1, required=True, metavar="TASK...", shell_complete=tasks)


@click.group()
def task() -> None:
    """Submit durable tasks, follow them to their answers, cancel them and try them anew.

    A task survives its client, the broker and its LLM's publisher. `broker get tasks` lists yours, `broker describe task ID` tells
    all of one. A TASK is its id; `task/ID`, as these commands print it, will do too.
    """


task.add_command(submit)
task.add_command(follow)


@task.command()
@click.argument("task", shell_complete=tasks)
@connection
def result(where: Where, task: str) -> None:
    """Print the answer to a task just as the LLM gave it; `follow` prints its words.

    The exit code is 1 when that answer is a refusal.
    """
    finish(_result(where, plain(task)))


@task.command()
@_names
@_json
@connection
def cancel(where: Where, tasks: tuple[str, ...], as_json: bool) -> None:
    """Cancel tasks, wherever they are. One that has ended stays as it is."""
    finish(_each(where, tasks, as_json, _cancel))


@task.command()
@_names
@_json
@connection
def retry(where: Where, tasks: tuple[str, ...], as_json: bool) -> None:
    """Try tasks anew that are dead or failed: `broker task retry $(broker get tasks --state dead -o name)`."""
    finish(_each(where, tasks, as_json, _retry))


@task.command()
@click.argument("state", type=click.Choice(ENDED))
@_json
@connection
def purge(where: Where, state: str, as_json: bool) -> None:
    """Forget all of your tasks that ended in STATE, with their answers."""
    finish(_purge(where, state, as_json))


def plain(task: str) -> str:
    """Its id."""
    return task.removeprefix("task/")


async def _result(where: Where, task: str) -> int:
    from .api import Api, Refused, segment

    path = f"{_PATH}/{segment(task)}"
    async with Api(where) as api:
        row = await api.get(path)
        # Without one the broker says why.
        status = (row["result"] or {}).get("status") or 200
        try:
            _, body = await api.kept(f"{path}/result", status)
        except Refused as refused:
            if refused.code != "task_unfinished":
                raise
            raise Refused(refused.status, refused.code, f"task/{task} is {row['state']} and has no result yet; `broker task follow {task}` waits for it") from None
    if sys.stdout.isatty():
        say(body.decode("utf-8", "replace"))
    else:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    return FAILED if status >= 400 else 0


async def _each(
    where: Where, tasks: tuple[str, ...], as_json: bool, act: Callable[[Api, str], Coroutine[object, object, tuple[dict, str]]]
) -> int:
    """Does it to one after the other; what is refused for one is said, and the others are done."""
    from .api import Api, Refused

    code = 0
    async with Api(where) as api:
        for name in map(plain, tasks):
            try:
                answer, told = await act(api, name)
            except Refused as refused:
                complain(f"task/{name}: {refused}")
                code = FAILED
                continue
            if as_json:
                click.echo(json.dumps(answer))
            else:
                say(f"task/{name} {told}")
    return code


async def _cancel(api: Api, task: str) -> tuple[dict, str]:
    from .api import segment

    answer = await api.send("DELETE", f"{_PATH}/{segment(task)}")
    return answer, "cancelled" if answer["state"] == "cancelled" else f"is {answer['state']} already, and stays so"


async def _retry(api: Api, task: str) -> tuple[dict, str]:
    from .api import segment

    answer = await api.send("POST", f"{_PATH}/{segment(task)}/retry")
    return answer, answer["state"]


async def _purge(where: Where, state: str, as_json: bool) -> None:
    from .api import Api

    async with Api(where) as api:
        answer = await api.send("DELETE", _PATH, query={"state": state})
    if as_json:
        click.echo(json.dumps(answer))
    else:
        count = answer["deleted"]
        say(f"{count} {state} task{'' if count == 1 else 's'} forgotten")
