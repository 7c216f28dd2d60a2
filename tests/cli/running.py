"""The client verbs as processes, against a broker inside the test."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import yaml
from click.testing import CliRunner

from broker.__main__ import main
from tests.support.brokers import Replica
from tests.support.commands import Ended
from tests.support.processes import ROOT

LIMIT_S = 20.0


def environment(broker: Replica | str, **more: str) -> dict[str, str]:
    url = broker if isinstance(broker, str) else broker.url
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "VISUAL", "EDITOR", "NO_COLOR", "FORCE_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "BROKER_URL": url, **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "broker", *words]


async def ran(broker: Replica | str, *words: str, stdin: str | bytes = "", **env: str) -> Ended:
    """Runs ``broker <words>`` to its end, with nobody at a terminal."""
    async with started(broker, *words, **env) as process, asyncio.timeout(LIMIT_S):
        out, err = await process.communicate(stdin.encode() if isinstance(stdin, str) else stdin)
    return Ended(process.returncode, out.decode(), err.decode())


async def did(broker: Replica | str, *words: str, stdin: str = "", **env: str) -> str:
    """What a run that succeeds prints."""
    ended = await ran(broker, *words, stdin=stdin, **env)
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.out


async def said(broker: Replica, *words: str, stdin: str = "") -> str:
    """The same within the test's process, for tests of many runs."""
    env = {"BROKER_URL": broker.url, "BROKER_TOKEN": None}
    done = await asyncio.to_thread(CliRunner().invoke, main, words, input=stdin, env=env)
    assert done.exit_code == 0, done.output
    return done.stdout


@asynccontextmanager
async def started(broker: Replica | str, *words: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``broker <words>`` while it runs; what still runs at the end is killed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command(*words), stdin=pipe, stdout=pipe, stderr=pipe, env=environment(broker, **env)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def applied(broker: Replica, *documents: dict, **env: str) -> Ended:
    """``broker apply`` of these documents."""
    return await ran(broker, "apply", "-f", "-", stdin=yaml.safe_dump_all(documents, sort_keys=False), **env)


async def rows(broker: Replica, kind: str) -> list[dict]:
    status, found, _ = await broker.call("GET", f"/api/v1/{kind}")
    assert status == 200, found
    return found


async def row(broker: Replica, kind: str, name: str) -> dict:
    (found,) = [each for each in await rows(broker, kind) if each["name"] == name]
    return found


def documents(text: str) -> list[dict]:
    """YAML documents, as any other program would read them."""
    return list(yaml.safe_load_all(text))


def lines(text: str) -> list[list[str]]:
    """A table's words."""
    return [line.split() for line in text.splitlines()]


def json_lines(text: str) -> list[object]:
    return [json.loads(line) for line in text.splitlines()]
