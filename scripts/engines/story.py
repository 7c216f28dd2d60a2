"""The story of one engine: published while it does not run, woken, asked, put to sleep for want of work.

Broker and publisher are real processes, started as a user would start them, and
the publisher starts and stops the engine. Every sentence is told when it has
happened; whatever was started is stopped at the end, however the story ends.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import yaml

from demo.part import Part, PartFailed
from demo.voice import Voice
from engines.address import answers
from engines.asking import PROMPT, AskFailed, Client
from engines.engine import IDLE_S, Engine
from ports import free_port

START_S = 30.0
ANSWER_S = 300.0
ASLEEP_S = 60.0
POLL_S = 0.05


class Story:
    def __init__(self, voice: Voice, engine: Engine, folder: Path, port: int | None) -> None:
        self._voice = voice
        self._engine = engine
        self._folder = folder
        self._broker_port = free_port(8080) if port is None else port
        self._engine_port = free_port()
        self._started = AsyncExitStack()

    async def __aenter__(self) -> Story:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._started.aclose()

    async def tell(self) -> None:
        self._voice.begin(f"Reveille: {self._engine.description}.")
        await self._prepare()
        await self._start_broker()
        await self._start_publisher()
        await self._wake_it()
        await self._ask("the same again, now that it is awake")
        await self._ask_for_all_at_once()
        await self._see_it_fall_asleep()

    async def stay(self) -> None:
        """Until Ctrl-C; never returns, raises when a part ends."""
        self._voice.say(
            f"\nIt sleeps until someone asks, and again after {IDLE_S} s without work:\n\n"
            f"  curl -N {self._client.url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
            f'    -d \'{{"model": "{self._engine.name}", "stream": true, "messages": '
            '[{"role": "user", "content": "Hello"}]}\'\n\n'
            f"What the engine says: {self._folder / 'engine.log'}\n"
            "Everything stays up until Ctrl-C. What the broker and the publisher say:"
        )
        parts = (self._broker, self._publisher)
        for part in parts:
            part.hear = self._voice.line
        await asyncio.gather(*(part.end() for part in parts))

    async def _prepare(self) -> None:
        try:
            await asyncio.to_thread(self._engine.prepare, self._engine.environment, self._folder)
        except subprocess.CalledProcessError as error:
            raise PartFailed(f"the model could not be made:\n{error.stderr}") from None
        except OSError as error:
            raise PartFailed(f"what the engine needs could not be made: {error}") from None

    async def _start_broker(self) -> None:
        self._broker = Part("broker", [
            "broker", "up", "--port", str(self._broker_port), "--data-dir", str(self._folder / "redis"),
        ])
        await self._started.enter_async_context(self._broker)
        url = (await self._broker.says(r"listens on (http://\S+)", START_S)).group(1)
        http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        await self._started.enter_async_context(http)
        self._client = Client(http, url, self._engine.name)
        self._voice.step(f"A broker listens on {url}.", "broker up")

    async def _start_publisher(self) -> None:
        config = yaml.safe_dump(
            self._engine.config(self._client.url, self._engine_port, self._folder), sort_keys=False, width=110
        )
        file = self._folder / "publisher.yaml"
        file.write_text(config)
        self._voice.step("This is the publisher's config file.", str(file))
        self._voice.say("\n" + "".join(f"    {line}\n" for line in config.splitlines()))
        self._publisher = Part("publisher", [
            "publisher", "run", "--config", str(file), "--session-file", str(self._folder / "session.json"),
        ])
        await self._started.enter_async_context(self._publisher)
        row = await self._publisher.during(
            self._row(lambda row: row["channel"]), START_S, f'did not publish "{self._engine.name}"'
        )
        _must(row["status"] == "hibernating", f"its row must be hibernating, but is {row['status']}")
        self._voice.step(
            f'The publisher connects, and the broker lists "{row["name"]}" as {row["status"]}: the engine is not running.',
            "publisher run --config publisher.yaml",
        )

    async def _wake_it(self) -> None:
        await self._ask("a streaming request, while the engine is asleep")
        row = await self._row(lambda row: True)
        _must(row["status"] == "active", f"after an answer its row must be active, but is {row['status']}")
        self._voice.step(f'The broker lists "{row["name"]}" as active: the request woke it.')

    async def _ask(self, what: str) -> None:
        self._voice.step(f"A client sends {what}.", f'POST /v1/chat/completions  "{PROMPT}"')
        self._voice.margin()
        answer = await self._served(self._client.stream(self._voice.token))
        self._voice.say("")
        self._voice.step(
            f"The answer is complete: first token after {answer.first_token_s:.3f} s, "
            f"{answer.pieces} pieces in {answer.total_s:.2f} s."
        )

    async def _ask_for_all_at_once(self) -> None:
        answer = await self._served(self._client.at_once())
        self._voice.step(
            f"Without streaming it answers too: {answer['usage']['completion_tokens']} tokens, "
            f"finish_reason {answer['choices'][0]['finish_reason']}."
        )

    async def _see_it_fall_asleep(self) -> None:
        _must(await answers(self._engine_port), "the engine does not listen, though it just answered")
        await self._publisher.during(self._asleep(), ASLEEP_S, "did not put the engine to sleep")
        self._voice.step(
            f'{IDLE_S} s without work: the publisher stopped the engine, and "{self._engine.name}" is hibernating again.'
        )

    async def _asleep(self) -> None:
        """The row says so first, so that no more work comes; then the engine ends."""
        await self._row(lambda row: row["status"] == "hibernating")
        while await answers(self._engine_port):
            await asyncio.sleep(POLL_S)

    async def _served(self, asking):
        try:
            return await self._publisher.during(asking, ANSWER_S, "did not answer the request")
        except AskFailed as error:
            raise self._publisher.failure(f"could not serve a request: {error}") from None

    async def _row(self, fits) -> dict:
        """The engine's row, once there is one that fits."""
        while True:
            row = await self._client.row()
            if row is not None and fits(row):
                return row
            await asyncio.sleep(POLL_S)


def _must(holds: object, otherwise: str) -> None:
    if not holds:
        raise AskFailed(otherwise)
