"""Every type of LLM server between a real broker and a real publisher: published, asked, asleep, woken.

The servers are fakes with true native answers, in the test's own process where a
test reads what they were told. All timers of the publisher are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import openai
import pytest

from scripts.ports import free_port
from tests.support.engines import VLLM, LlamaCppRouter, LMStudio, Ollama
from tests.support.engines.anthropic import Anthropic
from tests.support.home import home
from tests.support.live import Stream
from tests.support.processes import ROOT, Stage, client
from tests.support.wakers import waker
from tests.support.waiting import eventually

IDLE_S = 1.5
NATIVE = {"wake": {"type": "native"}, "sleep": {"type": "native"}}


@dataclass
class Server:
    """One LLM server. ``names``: what is published of it; ``asleep`` is asked of the server itself."""

    provider: dict
    names: dict[str, str]  # published name → the server's own
    asleep: Callable[[str], object]
    url: str = ""  # where it can be asked directly; empty: it is not of that kind
    words: tuple[str, ...] = ("tök€n0 ", "tök€n1 ", "tök€n2 ")
    starts: str = "hibernating"


@contextlib.asynccontextmanager
async def ollama(stage: Stage) -> AsyncIterator[Server]:
    async with Ollama(["qwen3:latest", "llama3:8b"], embeddings=["embed"]) as engine:
        provider = {"type": "ollama", "url": engine.url, "models": ["*", "!embed*"], **NATIVE}
        provider["wake"] = {"type": "native", "keepAlive": "30m"}
        # Ollama itself names a model without a tag by ":latest".
        names = {"qwen3": "qwen3:latest", "llama3:8b": "llama3:8b"}
        yield Server(provider, names, lambda name: not engine.models[name].loaded, engine.url)
        assert {"model": "qwen3:latest", "keep_alive": "30m"}.items() <= engine.asked("/api/generate")[0].items()


@contextlib.asynccontextmanager
async def vllm(stage: Stage) -> AsyncIterator[Server]:
    async with VLLM(["org/qwen3"]) as engine:
        provider = {"name": "big", "type": "vllm", "url": engine.url, "model": "org/qwen3", **NATIVE, "canary": True}
        yield Server(provider, {"big": "org/qwen3"}, lambda _: engine.sleeping, engine.url, starts="active")
        assert engine.insulted == 0


@contextlib.asynccontextmanager
async def llamacpp(stage: Stage) -> AsyncIterator[Server]:
    """One model: it has no way of its own to unload it, so the server itself is stopped."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    provider = {"name": "one", "type": "llamacpp", "url": url, "wake": engine_process("llamacpp", port)}
    yield Server(provider, {"one": "one"}, lambda _: nobody_at(port), url)


@contextlib.asynccontextmanager
async def llamacpp_router(stage: Stage) -> AsyncIterator[Server]:
    async with LlamaCppRouter(["qwen3-8b", "qwen3-32b", "other"]) as engine:
        provider = {"name": "home/{model}", "type": "llamacpp", "url": engine.url, "model": "qwen3*", **NATIVE}
        names = {"home/qwen3-8b": "qwen3-8b", "home/qwen3-32b": "qwen3-32b"}
        yield Server(provider, names, lambda name: not engine.models[name].loaded, engine.url)


@contextlib.asynccontextmanager
async def lmstudio(stage: Stage) -> AsyncIterator[Server]:
    async with LMStudio(["acme/qwen3"], embeddings=["embed"]) as engine:
        provider = {"type": "lmstudio", "url": engine.url, "models": ["acme/*"], **NATIVE}
        yield Server(provider, {"acme/qwen3": "acme/qwen3"}, lambda name: not engine.models[name].loaded, engine.url)


@contextlib.asynccontextmanager
async def anthropic(stage: Stage) -> AsyncIterator[Server]:
    """A local server that speaks it, started and stopped by two calls to somebody who can."""
    engine, up = Anthropic(), set()

    def start() -> None:
        if not up:
            up.add(asyncio.create_task(engine.__aenter__()))

    def stop() -> None:
        if up:
            up.pop()
            ending.append(asyncio.create_task(engine.__aexit__()))

    ending: list[asyncio.Task] = []
    engine.port = free_port()
    async with waker(start) as wake, waker(stop) as sleep:
        provider = {
            "name": "claude", "type": "anthropic", "url": engine.url, "model": "claude-a",
            "wake": {"type": "http", "url": wake.url}, "sleep": {"type": "http", "url": sleep.url},
        }

        def stopped(_: str) -> bool:
            return not up and all(task.done() for task in ending)

        yield Server(provider, {"claude": "claude-a"}, stopped, words=("tök", "€n", " 🙂"))
        stop()
        await asyncio.gather(*ending)


@contextlib.asynccontextmanager
async def by_process(stage: Stage) -> AsyncIterator[Server]:
    """Any server that speaks OpenAI's protocol, started by the publisher itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    provider = {"name": "mine", "type": "openai", "url": f"{url}/v1", "model": "m", "wake": engine_process("vllm", port)}
    yield Server(provider, {"mine": "m"}, lambda _: nobody_at(port), url)


def engine_process(kind: str, port: int) -> dict:
    words = ["-m", "tests.support.engines", kind, "--port", str(port), "--models", "m"]
    return {"type": "process", "command": sys.executable, "args": words, "directory": str(ROOT), "maxWaitSeconds": 20}


async def nobody_at(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:  # refused, or reset as it ends
        return True
    writer.close()
    return False


@pytest.mark.limit_s(90)
@pytest.mark.parametrize(
    "server", [ollama, vllm, llamacpp, llamacpp_router, lmstudio, anthropic, by_process], ids=lambda one: one.__name__
)
async def test_it_is_published_streamed_from_falls_asleep_is_woken_by_a_request_and_put_to_sleep_by_hand(stage, server):
    broker = await stage.broker().ready()
    with home(stage) as user:
        async with server(stage) as told, client(broker.url) as api:
            user.write(broker.url, {**told.provider, "idleSeconds": IDLE_S, "minAwakeSeconds": 0})
            await user.publisher().ready()
            rows = (await api.call("GET", "/api/v1/llms"))[1]
            assert {row["name"]: (row["model"], row["type"]) for row in rows} == {
                name: (model, told.provider["type"]) for name, model in told.names.items()
            }
            name, model = next(iter(told.names.items()))
            assert (await api.llm(path(name)))["status"] == told.starts

            payloads = await streamed(api, name)
            assert payloads[-1] == "[DONE]" and words(payloads) == "".join(told.words)
            if told.url:
                async with client(told.url) as direct:
                    assert payloads == await streamed(direct, model), "not the bytes that the server said"

            await asleep(api, told, name, model)
            assert await asked_by_sdk(broker.url, name) == "".join(told.words)
            by_hand = await user.verb("sleep", name)
            assert by_hand.code == 0, by_hand
            await asleep(api, told, name, model, limit_s=2)
            row = next(row for row in (await user.status())["rows"] if row["name"] == name)
            assert (row["state"], row["requests"], row["failed"], row["running"]) == ("hibernating", 2, 0, 0)
            for one in told.names.values():
                assert await asleep_now(told, one), f"{one} is awake, which nobody asked for"


async def asleep(api, told: Server, name: str, model: str, limit_s: float = 20.0) -> None:
    await api.until_status(path(name), "hibernating", limit_s)
    await eventually(lambda: asleep_now(told, model), limit_s)


async def asleep_now(told: Server, model: str) -> bool:
    found = told.asleep(model)
    return await found if asyncio.iscoroutine(found) else bool(found)


async def streamed(api, name: str) -> list[str]:
    async with Stream(api, name, messages=[{"role": "user", "content": "Grüezi"}]) as stream:
        assert stream.status == 200, await stream.rest()
        return await stream.rest()


async def asked_by_sdk(url: str, name: str) -> str:
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as sdk:
        answer = await sdk.chat.completions.create(model=name, messages=[{"role": "user", "content": "Grüezi"}])
        return answer.choices[0].message.content


def words(payloads: list[str]) -> str:
    return "".join(json.loads(one)["choices"][0]["delta"].get("content") or "" for one in payloads[:-1])


def path(name: str) -> str:
    return name.replace("/", "%2F")


async def test_an_engine_that_dies_while_its_model_sleeps_is_told_of_and_serves_when_it_is_back(stage):
    broker = await stage.broker().ready()
    with home(stage) as user:
        async with Ollama(["a"]) as engine, client(broker.url) as api:
            user.write(broker.url, {"type": "ollama", "url": engine.url, "model": "a", "name": "a", **NATIVE})
            await user.publisher().ready()
            await engine.die()
            status, answer, _ = await api.chat("a")
            assert (status, answer["error"]["code"]) == (503, "wake_failed"), answer
            assert str(engine.port) in answer["error"]["message"]
            await engine.revive()
            assert (await api.chat("a"))[0] == 200
