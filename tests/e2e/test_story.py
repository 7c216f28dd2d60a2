"""The story that the project is about: a model sleeps on somebody's machine until someone asks.

Real processes: a broker, a publisher, a backend that is started by the wake recipe.
"""

from __future__ import annotations

import asyncio
import time

from scripts.ports import free_port
from tests.support.processes import client
from tests.support.live import Stream, word
from tests.support.wakers import command, starter, waker


def sleeping(port: int, url: str, **more) -> dict:
    wake = {"type": "http", "url": url, "maxWaitSeconds": 15}
    return {"name": "vllm-local", "model": "qwen3", "url": f"http://127.0.0.1:{port}/v1", "slots": 4, "wake": wake, **more}


async def streamed(broker) -> list[str]:
    async with Stream(broker, "vllm-local") as stream:
        return await stream.rest()


async def test_a_sleeping_provider_is_published_hibernating_and_woken_by_one_inference(stage):
    port = free_port()
    broker = await stage.broker().ready()
    async with waker(lambda: stage.backend(port=port)) as recipe, client(broker.url) as api:
        await stage.publisher(broker.url, sleeping(port, recipe.url)).ready()
        row = await api.until_status("vllm-local", "hibernating")
        assert row["kind"] == "virtual" and row["model"] == "qwen3" and row["channel"] is True

        status, answer, _ = await api.chat("vllm-local")
        assert status == 200 and answer["model"] == "qwen3", answer
        assert answer["choices"][0]["message"]["content"].startswith("tök€n0")
        assert recipe.calls == 1
        assert (await api.llm("vllm-local"))["status"] == "active"


async def test_three_concurrent_requests_make_one_wake(stage, redis_real):
    port = free_port()
    broker, other = await asyncio.gather(stage.broker().ready(), stage.broker().ready())
    async with (
        waker(lambda: stage.backend(port=port)) as recipe,
        client(broker.url) as api, client(other.url) as api_2,
    ):
        await stage.publisher(broker.url, sleeping(port, recipe.url)).ready()
        # A stream's status is there only once the model is awake, so it must not be waited for first.
        answers = await asyncio.gather(api.chat("vllm-local"), api_2.chat("vllm-local"), streamed(api_2))
        assert [answers[0][0], answers[1][0]] == [200, 200], answers
        assert [word(p) for p in answers[2][:-1]] == ["tök€n0 ", "tök€n1 ", "tök€n2 "] and answers[2][-1] == "[DONE]"
        assert recipe.calls == 1
    # Nor did the broker ask for a second one, which the publisher would have joined to the first.
    events = [fields[b"kind"] for _, fields in await redis_real.read("events")]
    assert events.count(b"llm.waking") == 1, events


async def test_a_failed_wake_tells_everybody_why_and_the_next_request_tries_afresh(stage):
    port = free_port()
    broker = await stage.broker().ready()
    async with waker(lambda: stage.backend(port=port)) as recipe, client(broker.url) as api:
        recipe.status = 500
        await stage.publisher(broker.url, sleeping(port, recipe.url)).ready()
        for status, answer, headers in await asyncio.gather(*(api.chat("vllm-local") for _ in range(3))):
            assert status == 503 and answer["error"]["code"] == "wake_failed", answer
            assert "answered 500" in answer["error"]["message"] and headers["X-Should-Retry"] == "false"
        assert (await api.llm("vllm-local"))["status"] == "hibernating"

        recipe.status = 200
        assert (await api.chat("vllm-local"))[0] == 200
        assert (await api.llm("vllm-local"))["status"] == "active"


async def test_after_the_publisher_stopped_requests_get_503_at_once(stage):
    broker, backend = await asyncio.gather(stage.broker().ready(), stage.backend().ready())
    async with client(broker.url) as api:
        publisher = await stage.publisher(broker.url, {"name": "m", "url": backend.url}).ready()
        assert (await api.chat("m"))[0] == 200
        publisher.terminate()
        assert await publisher.ended() == 0
        asked_at = time.monotonic()
        status, answer, _ = await api.chat("m")
        assert status == 503 and answer["error"]["code"] == "publisher_offline", answer
        assert "publisher offline" in answer["error"]["message"]
        assert time.monotonic() - asked_at < 5
        assert (await api.llm("m"))["status"] == "inactive"


async def test_the_command_recipe_wakes_too(stage):
    port = free_port()
    script = command(stage, port)
    broker, _ = await asyncio.gather(stage.broker().ready(), starter(stage).ready())
    async with client(broker.url) as api:
        wake = {"type": "command", "command": str(script), "args": ["--fast"], "maxWaitSeconds": 15}
        await stage.publisher(broker.url, sleeping(port, "", wake=wake)).ready()
        await api.until_status("vllm-local", "hibernating")
        async with Stream(api, "vllm-local") as stream:
            assert stream.status == 200
            payloads = await stream.rest()
        assert len(payloads) == 4 and payloads[-1] == "[DONE]"


async def test_a_backend_that_dies_by_itself_is_woken_by_the_next_request(stage):
    port = free_port()
    backends = []
    broker = await stage.broker().ready()
    async with waker(lambda: backends.append(stage.backend(port=port))) as recipe, client(broker.url) as api:
        await stage.publisher(broker.url, sleeping(port, recipe.url)).ready()
        assert (await api.chat("vllm-local"))[0] == 200
        backends[0].kill()
        status, answer, _ = await api.chat("vllm-local")
        assert status == 200, answer
        assert recipe.calls == 2
