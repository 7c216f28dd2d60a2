"""``broker task submit``: hands in a durable task: a message, or a whole request from a file.

The secret that signs a webhook comes in a file, never as an argument, which others on the machine could see.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .completion import who_chats
from .options import connection, finish
from .printing import say

if TYPE_CHECKING:
    from .api import Api, Where

OPERATIONS = ("chat", "completions", "embeddings")
PRIORITIES = ("interactive", "normal", "batch")
#: What the message is in a request of each.
_WRITTEN = {
    "chat": lambda text: {"messages": [{"role": "user", "content": text}]},
    "completions": lambda text: {"prompt": text},
    "embeddings": lambda text: {"input": text},
}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is submitted. ``file`` None is a message: ``message``, or stdin."""

    name: str | None
    message: str | None
    file: str | None
    operation: str
    priority: str
    deadline: str
    key: str
    webhook: str
    secret_file: str | None
    follow: bool


@click.command()
@click.argument("name", metavar="[AGENT|LLM]", required=False, shell_complete=who_chats)
@click.argument("message", required=False)
@click.option("-f", "--file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True),
              help="The whole request, in JSON or YAML; - for stdin. It may name its `model` itself.")
@click.option("--operation", type=click.Choice(OPERATIONS), default="chat", show_default=True, help="What the request is for.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True, help="Whom it goes before.")
@click.option("--deadline", default="", metavar="TIME", help="Until when (2031-01-31T12:00:00Z), or for how long (90s, 15m, 8h, 2d), it is tried.")
@click.option("--key", default="", metavar="KEY", help="Its Idempotency-Key: the same submission again is the same task.")
@click.option("--webhook", default="", metavar="URL", help="Where its end is told.")
@click.option("--webhook-secret-file", "secret_file", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="What the webhook is signed with is in FILE.")
@click.option("--follow", is_flag=True, help="Wait for its end, and print its answer.")
@click.option("--json", "as_json", is_flag=True, help="What the API answers; with --follow what happens, an event on a line.")
@connection
def submit(where: Where, as_json: bool, **given: object) -> None:
    """Submit a durable task: MESSAGE (or stdin) for an agent, or for an LLM by its name, an alias, a pool or its model.

    It is accepted at once, and run when somebody is free. `agent/NAME` and `llm/NAME` say which is meant, where there
    are both.
    """
    wanted = Wanted(**given)
    if wanted.file and wanted.message is not None:
        raise click.UsageError("--file has the whole request: give it or a message")
    if bool(wanted.webhook) != bool(wanted.secret_file):
        raise click.UsageError("--webhook and --webhook-secret-file belong together")
    finish(_submit(where, wanted, as_json))


async def _submit(where: Where, wanted: Wanted, as_json: bool) -> int:
    from .api import Api
    from .follow import followed

    body = {"request": _request(wanted), "operation": wanted.operation, "priority": wanted.priority, **_until(wanted.deadline)}
    if wanted.webhook:
        from .secret import kept_in

        body["webhook"] = {"url": wanted.webhook, "secret": kept_in(wanted.secret_file)}
    async with Api(where) as api:
        body |= await _asked(api, wanted)
        headers = {"Idempotency-Key": wanted.key} if wanted.key else {}
        made = await api.send("POST", "/api/v1/tasks", body, headers=headers)
    if as_json and not wanted.follow:
        click.echo(json.dumps(made))
    elif wanted.follow and not as_json:
        say(f"task/{made['id']}", dim=True, err=True)
    elif not as_json:
        say(f"task/{made['id']} {made['state']}")
    return await followed(where, made["id"], as_json=as_json) if wanted.follow else 0


def _request(wanted: Wanted) -> dict:
    """The request itself. One that is followed is streamed, unless it says otherwise. Raises Misused."""
    request = _read(wanted.file) if wanted.file else _WRITTEN[wanted.operation](_message(wanted))
    if wanted.follow and wanted.operation != "embeddings":
        request.setdefault("stream", True)
    return request


def _read(file: str) -> dict:
    from .api import Misused
    from .documents import texts
    from .yaml_form import Malformed, documents

    ((name, text),) = texts([file])
    try:
        found = [value for _, value in documents(text)]
    except Malformed as error:
        raise Misused(f"{name}:{error.line}: {error}") from None
    if len(found) != 1 or not isinstance(found[0], dict):
        raise Misused(f"{name}: must hold one request, an object such as {{\"messages\": […]}}; many at once are a batch (/v1/batches)")
    return found[0]


def _message(wanted: Wanted) -> str:
    from .api import Misused

    if wanted.name is None:
        raise Misused("say who is asked: `broker task submit AGENT|LLM MESSAGE`, or give a request that names its `model` with --file")
    if wanted.message is not None:
        text, source = wanted.message, "the message"
    elif sys.stdin.isatty():
        raise Misused("what is asked? `broker task submit NAME MESSAGE`; a message can be piped too, and a request comes with --file")
    else:
        try:
            text, source = sys.stdin.buffer.read().decode(), "stdin"
        except UnicodeDecodeError as error:
            raise Misused(f"stdin is not UTF-8 (byte {error.start})") from None
    if not text.strip():
        raise Misused(f"{source} is empty; it is the message")
    return text


async def _asked(api: Api, wanted: Wanted) -> dict[str, str]:
    """The field that says who is asked; none where the request does."""
    from .who import MODEL, who

    if wanted.name is None:
        return {}
    kind, name = await who(api, wanted.name) if wanted.operation == "chat" else (MODEL, wanted.name)
    return {kind: name}


def _until(deadline: str) -> dict[str, object]:
    """Raises Misused."""
    from datetime import datetime

    from .api import Misused

    if not deadline:
        return {}
    if span := re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)([smhd])", deadline):
        return {"deadlineSeconds": float(span[1]) * _SECONDS[span[2]]}
    try:
        datetime.fromisoformat(deadline)
    except ValueError:
        raise Misused(f"--deadline {deadline!r} is neither a time (2031-01-31T12:00:00Z) nor how long from now (90s, 15m, 8h, 2d)") from None
    return {"deadline": deadline}
