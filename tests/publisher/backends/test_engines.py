"""The fake servers themselves: what other tests rely on."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request

import aiohttp
import pytest

from tests.support.engines import KINDS, VLLM, LlamaCppRouter, Ollama
from tests.support.waiting import eventually


@pytest.mark.parametrize("kind", KINDS)
async def test_each_runs_as_a_process_and_says_where(kind):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.engines", kind, "--models", "a,b", "--load-seconds", "0.05",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said = (await process.stdout.readline()).decode().split()
        assert said[:2] == [kind, "at"]

        def models() -> dict:
            with urllib.request.urlopen(f"{said[2]}/v1/models", timeout=5) as answer:
                return json.load(answer)

        async def listed() -> list:
            try:
                return (await asyncio.to_thread(models))["data"]
            except OSError:  # llama.cpp still loads: 503
                return []

        assert [model["id"].removesuffix(":latest") for model in await eventually(listed)][0] == "a"
    finally:
        process.kill()
        await process.communicate()  # its pipe too comes to its end here


async def test_a_sleeping_vllm_notes_who_sends_it_a_request():
    async with VLLM() as engine, aiohttp.ClientSession() as http:
        engine.sleep()
        async with http.post(f"{engine.url}/v1/chat/completions", json={"model": "m"}) as answer:
            assert answer.status == 500
        assert engine.insulted == 1


async def test_a_router_gives_up_the_least_recently_used():
    async with LlamaCppRouter(["a", "b", "c"], models_max=2) as engine, aiohttp.ClientSession() as http:
        for name in ("a", "b", "a", "c"):
            async with http.post(f"{engine.url}/v1/chat/completions", json={"model": name}) as answer:
                assert answer.status == 200
        assert engine.loaded == ["a", "c"]


async def test_a_model_is_unloaded_once_its_last_request_ended():
    async with Ollama(["a"]) as engine, aiohttp.ClientSession() as http:
        asked = {"model": "a", "stream": True, "script": {"hang": "stream"}}
        async with http.post(f"{engine.url}/v1/chat/completions", json=asked) as answer:
            await answer.content.readany()
            engine.idle()
            assert engine.loaded == ["a"] and engine.most_at_once == 1
            answer.close()
        await eventually(lambda: not engine.loaded)
