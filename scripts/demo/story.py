"""The story: a broker, a publisher, an LLM that sleeps, a request that wakes it, and then it sleeps again.

Every part is a real process, started as a user would start it, and every
sentence is told when it has happened. Whatever was started is stopped at the
end, however the story ends.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import aiohttp

from demo import sleeper
from demo.chat import Answer, AskFailed, Client
from demo.part import Part
from demo.place import Place
from demo.voice import Voice
from ports import free_port
from publisher.config.values import Provider

START_S = 30.0
ANSWER_S = 600.0
SLEEP_S = 30.0
POLL_S = 0.02
PROMPT = "Say good morning in one short sentence."


class Story:
    """``provider``: a local LLM to publish instead of the demo."""

    def __init__(self, voice: Voice, place: Place, *, port: int | None, provider: Provider | None) -> None:
        self.told = False
        self._voice = voice
        self._place = place
        self._port = port
        self._provider = provider
        self._name = provider.name if provider else sleeper.NAME
        self._started = AsyncExitStack()

    async def __aenter__(self) -> Story:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._started.aclose()

    async def tell(self) -> None:
        """From nothing to an answer."""
        self._voice.begin("Reveille: publish the LLM on your own machine; it sleeps until someone asks.")
        await self._start_broker()
        await self._start_publisher()
        if self._provider is None:
            await self._ask_sleeping()
            await self._ask(sleeper.PROMPT, "the same again, now that it is awake")
            await self._wait_for_sleep()
        else:
            await self._ask(PROMPT, "a streaming request")
        self.told = True

    async def stay(self) -> None:
        """Until Ctrl-C; never returns, raises when a part ends."""
        self._voice.say(_things_to_try(self._client.url, self._name))
        if self._place.kept:
            self._voice.say(f"  Data: {self._place.folder} (delete it to start afresh)\n")
        self._voice.say("Everything stays up until Ctrl-C. What the broker and the publisher say:")
        parts = (self._broker, self._publisher)
        for part in parts:
            part.hear = self._voice.line
        await asyncio.gather(*(part.end() for part in parts))

    async def _start_broker(self) -> None:
        port = free_port(8080) if self._port is None else self._port
        self._broker = Part("broker", ["broker", "up", "--port", str(port), "--data-dir", str(self._place.data)])
        await self._started.enter_async_context(self._broker)
        url = (await self._broker.says(r"listens on (http://\S+)", START_S)).group(1)
        http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        await self._started.enter_async_context(http)
        self._client = Client(http, url)
        self._voice.step(f"A broker listens on {url}, with a Redis of its own.", "broker up")

    async def _start_publisher(self) -> None:
        if self._provider is None:
            config = sleeper.config(self._client.url, free_port(), self._place)
            self._place.config.write_text(json.dumps(config, indent=2))
            told = ["--config", str(self._place.config)]
            shown = "publisher run --config …, with a wake recipe: the program that serves the LLM"
        else:
            told = ["--broker", self._client.url, "--backend", self._provider.url, "--type", self._provider.type]
            told += ["--model", self._provider.model, "--name", self._name]
            shown = f"publisher run {' '.join(told)}"
        self._publisher = Part("publisher", ["publisher", "run", *told, "--session-file", str(self._place.session)])
        await self._started.enter_async_context(self._publisher)
        row = await self._publisher.during(self._published(), START_S, f"did not publish {self._name!r}")
        self._voice.step(f'A publisher connects out to it and publishes the LLM "{self._name}".', shown)
        if self._provider is None:
            self._voice.step(f'"{self._name}" is {row["description"]}. Its server is not running.')
        self._voice.step(f'The broker lists "{self._name}" as {row["kind"]} and {row["status"]}.', "GET /api/v1/llms")

    async def _published(self) -> dict:
        while True:
            row = await self._client.llm(self._name)
            if row is not None and row["channel"]:
                return row
            await asyncio.sleep(POLL_S)

    async def _ask_sleeping(self) -> None:
        answer = await self._ask(sleeper.PROMPT, "a streaming request, while the LLM is asleep")
        if sleeper.PROMPT not in answer.text:
            raise AskFailed(f"the answer is not what this LLM says: {answer.text!r}")
        row = await self._client.llm(self._name)
        if row is None or row["status"] != "active":
            raise AskFailed(f"after an answer the LLM must be active, but its row is {row}")
        self._voice.step(f'The broker lists "{self._name}" as {row["status"]}: the request woke it.')

    async def _wait_for_sleep(self) -> None:
        self._voice.step(f"Nobody asks for {sleeper.IDLE_S:g} s.")
        await self._publisher.during(self._hibernating(), SLEEP_S, f"did not put {self._name!r} to sleep")
        self._voice.step(f'The broker lists "{self._name}" as hibernating: the publisher has stopped its server.')

    async def _hibernating(self) -> None:
        while (await self._client.llm(self._name) or {}).get("status") != "hibernating":
            await asyncio.sleep(POLL_S)

    async def _ask(self, prompt: str, what: str) -> Answer:
        self._voice.step(f"A client sends {what}.", f'POST /v1/chat/completions  "{prompt}"')
        self._voice.margin()
        asking = self._client.chat(self._name, prompt, self._voice.token)
        try:
            answer = await self._publisher.during(asking, ANSWER_S, "did not answer the request")
        except AskFailed as error:
            part = self._broker if self._broker.ended else self._publisher
            raise part.failure(f"could not serve a request: {error}") from None
        self._voice.say("")
        self._voice.step(
            f"The answer is complete: first token after {answer.first_token_s:.3f} s, "
            f"{answer.tokens} tokens in {answer.total_s:.2f} s."
        )
        return answer


def _things_to_try(url: str, name: str) -> str:
    message = json.dumps([{"role": "user", "content": "Hello"}])
    model = json.dumps(name)
    return f"""
Try it:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": {model}, "stream": true, "messages": {message}}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="none")
  print(client.chat.completions.create(model={model}, messages={message}).choices[0].message.content)

  LLMs {url}/api/v1/llms · models {url}/v1/models · API {url}/openapi.json · metrics {url}/metrics

Publish an LLM server of your own beside it:

  .venv/bin/publisher run --broker {url} --backend http://127.0.0.1:11434/v1 --model llama3
"""
