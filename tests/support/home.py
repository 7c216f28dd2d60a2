"""A user's home on a stage: the config file, a publisher that runs from it, and the verbs typed beside it.

Each home has folders of its own for config, state and sockets, so the verbs of
one test never find the publisher of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import yaml

from tests.support.backend import Backend
from tests.support.brokers import Replica
from tests.support.commands import Ended
from tests.support.processes import ROOT, Process, Stage


class Home:
    def __init__(self, stage: Stage, folder: Path, runtime: str):
        self.folder = folder
        self.config = folder / "config" / "reveille" / "publisher.yaml"  # where the publisher looks by itself
        self.env = {
            "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": runtime, "TMPDIR": runtime, "NO_COLOR": "1", "COLUMNS": "200",
        }
        self._stage = stage
        self.config.parent.mkdir(parents=True)

    def write(self, broker_url: str, *providers: dict, **more: object) -> None:
        """The config file, for one broker; ``publish`` is filled in."""
        self.write_whole({"broker": broker_url, **more, "providers": [{"publish": True, **one} for one in providers]})

    def write_whole(self, told: dict) -> None:
        """As an editor saves it: a new file in the place of the old one."""
        beside = self.config.with_suffix(".new")
        beside.write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True))
        os.replace(beside, self.config)

    def publisher(self, *words: str) -> Process:
        """``publisher run``; without words it finds the config file."""
        return self._stage.run("publisher", "-m", "publisher", "run", *words, says="channel open", env=self.env)

    async def verb(self, *words: str, limit_s: float = 20.0) -> Ended:
        """``publisher <words>`` to its end."""
        async with self.typing(*words) as program, asyncio.timeout(limit_s):
            out, err = await program.communicate()
        return Ended(program.returncode, out.decode(), err.decode())

    async def status(self) -> dict:
        told = await self.verb("status", "--json")
        assert told.code == 0, told
        return json.loads(told.out)

    @contextlib.asynccontextmanager
    async def typing(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """``publisher <words>`` while it runs; leaving it is Ctrl-C."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PUBLISHER_"))}
        pipe = asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "publisher", *words, cwd=ROOT, stdout=pipe, stderr=pipe,
            env={**kept, "PYTHONPATH": str(ROOT), **self.env},
        )
        try:
            yield program
        finally:
            if program.returncode is None:
                program.send_signal(signal.SIGINT)
                async with asyncio.timeout(10):
                    await program.communicate()


@contextlib.contextmanager
def home(stage: Stage) -> Iterator[Home]:
    # A socket's path must be short, and both pytest's folders and a test's TMPDIR are deep.
    with tempfile.TemporaryDirectory(prefix="rv", dir="/tmp" if os.name == "posix" else None) as runtime:
        yield Home(stage, Path(tempfile.mkdtemp(prefix="home-", dir=stage.folder)), runtime)


def entry(backend: Backend, name: str = "m", **more: object) -> dict:
    """A row of a plain backend."""
    return {"name": name, "url": backend.url, "slots": 4, **more}


async def publishes(api: Replica, names: set[str]) -> bool:
    """Whether exactly these rows are at that broker."""
    return {row["name"] for row in (await api.call("GET", "/api/v1/llms"))[1]} == names
