"""The type "ollama", before a server that speaks its native API."""

from __future__ import annotations

import asyncio

import pytest

from publisher.failures import RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.engines import Ollama
from tests.support.waiting import eventually


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/api"])
async def test_the_url_may_be_the_root_or_either_api(path):
    async with Ollama(["a"]) as engine, calling("ollama", engine.url + path) as backend:
        assert await backend.models() == ["a:latest"]
        assert await backend.available("a", False)
        assert await chat(backend, "a") == 200
    assert [seen.path for seen in engine.seen] == ["/api/tags", "/api/version", "/v1/chat/completions"]


async def test_a_model_that_is_not_in_memory_is_available_but_not_for_its_own_recipe():
    async with Ollama(["a", "b"]) as engine, calling("ollama", engine.url) as backend:
        assert await backend.available("a", False)
        assert not await backend.available("a", True)
        await backend.load("a", None)
        assert await backend.available("a", True) and not await backend.available("b", True)
    assert engine.loads == 1


@pytest.mark.parametrize("name", ["qwen3", "qwen3:latest", "Qwen3", "QWEN3:LATEST"])
async def test_a_name_without_a_tag_is_the_latest(name):
    async with Ollama(["qwen3:latest", "qwen3:8b"]) as engine, calling("ollama", engine.url) as backend:
        await backend.load("qwen3:8b", None)
        assert not await backend.available(name, True)
        await backend.load(name, None)
        assert await backend.available(name, True)


async def test_a_port_in_the_models_registry_is_no_tag():
    async with Ollama(["h:5000/qwen3"]) as engine, calling("ollama", engine.url) as backend:
        await backend.load("h:5000/qwen3", None)
        assert await backend.available("h:5000/qwen3:latest", True)
        assert await backend.available("h:5000/qwen3", True)


@pytest.mark.parametrize(
    ("keep_alive", "sent"), [(None, None), ("30m", "30m"), ("-1", -1), ("-1m", "-1m"), ("600", 600), ("1.5", 1.5)]
)
async def test_loading_is_an_empty_request_with_the_time_to_stay(keep_alive, sent):
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        await backend.load("a", keep_alive)
        asked = {"model": "a", "stream": False, **({} if sent is None else {"keep_alive": sent})}
        assert engine.asked("/api/generate") == [asked]
        assert engine.loaded == ["a"]


async def test_a_time_to_stay_that_ollama_does_not_know_is_told():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        with pytest.raises(RecipeFailed, match='answered 400: time: missing unit in duration "soon"'):
            await backend.load("a", "soon")


async def test_a_model_that_only_embeds_is_loaded_by_an_empty_embedding():
    async with Ollama(["a"], embeddings=["e"]) as engine, calling("ollama", engine.url) as backend:
        await backend.load("e", "-1")
        assert engine.asked("/api/embed") == [{"model": "e", "stream": False, "keep_alive": -1, "input": ""}]
        assert await backend.available("e", True)
        await backend.unload("e", None)
        assert not await backend.available("e", True)


async def test_unloading_is_an_empty_request_that_ends_its_stay():
    async with Ollama(["a", "b"]) as engine, calling("ollama", engine.url) as backend:
        await backend.load("a", None)
        await backend.load("b", None)
        await backend.unload("a", None)
        assert engine.asked("/api/generate")[-1]["keep_alive"] == 0
        assert engine.loaded == ["b"]


async def test_a_load_may_take_longer_than_a_check():
    async with Ollama(["a"], load_s=1.2) as engine, calling("ollama", engine.url, check_timeout_s=0.8) as backend:
        await backend.load("a", None)
        assert await backend.available("a", True)


async def test_a_load_that_is_given_up_ends_its_request():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        engine.hold = asyncio.Event()
        loading = asyncio.create_task(backend.load("a", None))
        await eventually(lambda: engine.models["a"].loading)
        loading.cancel()
        await eventually(lambda: not engine.models["a"].loading)
        with pytest.raises(asyncio.CancelledError):
            await loading


@pytest.mark.parametrize("embeddings", [[], ["e"]])
async def test_a_model_that_is_not_there_is_told_with_the_way_to_get_it(embeddings):
    async with Ollama(["a"], embeddings=embeddings) as engine, calling("ollama", engine.url) as backend:
        for call in (backend.load("x:1b", None), backend.unload("x:1b", None)):
            with pytest.raises(RecipeFailed, match='does not have the model "x:1b": run `ollama pull x:1b`'):
                await call


async def test_a_404_of_something_else_is_not_taken_for_a_missing_model():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        engine.faults["/api/generate"] = (404, {"nothing": "here"})
        with pytest.raises(RecipeFailed, match="answered 404$"):
            await backend.load("a", None)


async def test_a_load_that_fails_is_told_in_ollamas_words():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        engine.load_fails["a"] = 1
        with pytest.raises(RecipeFailed, match="answered 500: llama runner .* out of memory"):
            await backend.load("a", None)


async def test_an_error_inside_a_200_is_a_failure():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        engine.faults["/api/generate"] = {"error": "no\nspace"}
        with pytest.raises(RecipeFailed, match="answered 200: no space"):
            await backend.load("a", None)


async def test_an_error_that_repeats_the_key_does_not_tell_it():
    async with Ollama(["a"], api_key="sk-hunter2") as engine, calling("ollama", engine.url, "sk-hunter2") as backend:
        engine.faults["/api/generate"] = (500, {"error": "the key sk-hunter2 is out of credit"})
        with pytest.raises(RecipeFailed, match="the key … is out of credit"):
            await backend.load("a", None)


async def test_an_empty_server_has_no_models():
    async with Ollama([]) as engine, calling("ollama", engine.url) as backend:
        assert await backend.models() == []
        engine.faults["/api/tags"] = {"models": None}
        assert await backend.models() == []


@pytest.mark.parametrize(
    ("told", "url", "slots"),
    [("3", None, 3), ("", None, None), ("0", None, None), ("-1", None, None), ("many", None, None),
     ("3", "http://localhost:1", 3), ("3", "http://[::1]:1", 3), ("3", "http://10.0.0.5:1", None), ("3", "http://gpu:1", None)],
)
async def test_its_slots_are_our_environments_when_it_runs_here(monkeypatch, told, url, slots):
    monkeypatch.setenv("OLLAMA_NUM_PARALLEL", told)
    async with calling("ollama", url or "http://127.0.0.1:1") as backend:
        assert await backend.slots("a") == slots


async def test_questions_load_nothing():
    async with Ollama(["a"]) as engine, calling("ollama", engine.url) as backend:
        await backend.available("a", True), await backend.available("a", False)
        await backend.models(), await backend.slots("a")
        assert not engine.loaded and all(seen.method == "GET" for seen in engine.seen)
