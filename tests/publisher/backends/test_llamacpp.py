"""The type "llamacpp": one llama-server with one model, and one as a router."""

from __future__ import annotations

import asyncio

import pytest

from publisher.failures import RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.engines import LlamaCpp, LlamaCppRouter
from tests.support.waiting import eventually

# ── one model ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
async def test_the_url_may_be_the_root_or_the_openai_api(path):
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url + path) as backend:
        assert await backend.available("a", False) and await backend.available("a", True)
        assert await backend.models() == ["a"]
        assert await backend.slots("a") == 4
        assert await chat(backend, "a") == 200


@pytest.mark.parametrize("resident", [False, True])
async def test_a_server_that_still_loads_is_not_available(resident):
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        await engine.die()
        engine.hold = asyncio.Event()
        await engine.revive()
        assert not await backend.available("a", resident)
        assert await backend.slots("a") is None
        engine.hold.set()
        await eventually(lambda: backend.available("a", resident))


async def test_one_that_sleeps_wakes_itself_so_it_is_available_but_not_in_memory():
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.idle()
        assert await backend.available("a", False)
        assert not await backend.available("a", True)
        assert await backend.slots("a") == 4 and engine.sleeping
        assert await chat(backend, "a") == 200
        assert await backend.available("a", True)


async def test_one_model_cannot_be_loaded_and_the_recipe_says_so():
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        with pytest.raises(RecipeFailed, match=r"serves one model and cannot load it: start it without a model \(router"):
            await backend.load("a", None)
        with pytest.raises(RecipeFailed, match="serves one model and cannot unload it"):
            await backend.unload("a", None)
    assert all(seen.method == "GET" for seen in engine.seen)


@pytest.mark.parametrize("fault", [404, 501, "html", {"total_slots": "4"}, []])
async def test_an_old_server_without_props_is_available_by_its_health(fault):
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.faults["/props"] = fault
        assert await backend.available("a", False)
        assert not await backend.available("a", True)
        assert await backend.slots("a") is None


@pytest.mark.parametrize("said", [0, -1, None])
async def test_slots_that_are_no_number_of_slots_are_none(said):
    async with LlamaCpp(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.faults["/props"] = {"total_slots": said}
        assert await backend.slots("a") is None


# ── a router ────────────────────────────────────────────────────────────────


async def test_a_router_lists_all_its_models():
    async with LlamaCppRouter(["a", "b"]) as engine, calling("llamacpp", engine.url) as backend:
        assert await backend.models() == ["a", "b"]


async def test_a_router_loads_by_itself_so_every_model_is_available_but_not_in_memory():
    async with LlamaCppRouter(["a", "b"]) as engine, calling("llamacpp", engine.url) as backend:
        assert await backend.available("a", False) and not await backend.available("a", True)
        await backend.load("a", None)
        assert await backend.available("a", True) and not await backend.available("b", True)
        assert engine.loads == 1


async def test_a_router_that_does_not_load_by_itself_has_only_what_is_loaded():
    async with LlamaCppRouter(["a", "b"], autoload=False) as engine, calling("llamacpp", engine.url) as backend:
        await backend.load("a", None)
        assert await backend.available("a", False) and not await backend.available("b", False)
        engine.idle()
        assert await backend.available("a", False) and not await backend.available("a", True)


async def test_loading_returns_once_the_model_is_in_memory():
    async with LlamaCppRouter(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.hold = asyncio.Event()
        loading = asyncio.create_task(backend.load("a", None))
        await eventually(lambda: engine.models["a"].loading)
        assert not await backend.available("a", True) and not loading.done()
        engine.hold.set()
        await loading
        assert await backend.available("a", True)
        assert engine.asked("/models/load") == [{"model": "a"}]


async def test_a_model_that_is_loaded_or_loads_already_is_fine():
    async with LlamaCppRouter(["a"], load_s=0.3) as engine, calling("llamacpp", engine.url) as backend:
        await asyncio.gather(backend.load("a", None), backend.load("a", None))
        await backend.load("a", None)
        assert engine.loads == 1


async def test_a_sleeping_model_is_woken_without_generating_anything():
    async with LlamaCppRouter(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        await backend.load("a", None)
        engine.idle()
        assert not await backend.available("a", True)
        await backend.load("a", None)
        assert await backend.available("a", True)
        assert not engine.talk.seen


async def test_a_load_that_fails_is_told_with_its_exit_code():
    async with LlamaCppRouter(["a"], load_s=0.1) as engine, calling("llamacpp", engine.url) as backend:
        engine.load_fails["a"] = 139
        with pytest.raises(RecipeFailed, match=r'the model "a" failed to load \(exit code 139\): see the output'):
            await backend.load("a", None)
        assert not await backend.available("a", True)
        engine.load_fails.clear()
        await backend.load("a", None)
        assert await backend.available("a", True)


async def test_a_model_that_is_unloaded_while_it_loads_is_told():
    async with LlamaCppRouter(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.faults["/models/load"] = {"success": True}
        with pytest.raises(RecipeFailed, match="was unloaded again while it loaded"):
            await backend.load("a", None)


async def test_a_server_that_dies_while_it_loads_ends_the_recipe():
    async with LlamaCppRouter(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.hold = asyncio.Event()
        loading = asyncio.create_task(backend.load("a", None))
        await eventually(lambda: engine.models["a"].loading)
        await engine.die()
        with pytest.raises(RecipeFailed, match="refused the connection|gave no proper answer"):
            await loading


async def test_a_model_goes_by_its_aliases_too():
    async with LlamaCppRouter(["org/a-GGUF:Q4_K_M"]) as engine, calling("llamacpp", engine.url) as backend:
        engine.aliases["a"] = "org/a-GGUF:Q4_K_M"
        await backend.load("a", None)
        assert await backend.available("a", True) and await backend.available("org/a-GGUF:Q4_K_M", True)
        assert await backend.slots("a") == 4 and await backend.slots("org/a-GGUF:Q4_K_M") == 4
        await backend.unload("a", None)
        assert not await backend.available("a", True)


async def test_a_model_that_is_not_there_is_told_with_those_that_are():
    async with LlamaCppRouter(["a", "b"]) as engine, calling("llamacpp", engine.url) as backend:
        with pytest.raises(RecipeFailed, match='has no model "x"; it has "a", "b"'):
            await backend.load("x", None)
        with pytest.raises(RecipeFailed, match="answered 400 to /models/unload: model is not found"):
            await backend.unload("x", None)
        assert not await backend.available("x", True)


async def test_unloading_takes_it_out_of_memory_and_twice_is_fine():
    async with LlamaCppRouter(["a", "b"]) as engine, calling("llamacpp", engine.url) as backend:
        await backend.load("a", None)
        await backend.load("b", None)
        await backend.unload("a", None)
        await backend.unload("a", None)
        assert engine.loaded == ["b"]


async def test_a_routers_slots_are_told_for_loaded_models_and_nothing_is_loaded_to_ask():
    async with LlamaCppRouter(["a"], slots=7) as engine, calling("llamacpp", engine.url) as backend:
        assert await backend.slots("a") is None
        assert not any("model=" in seen.path for seen in engine.seen)
        await backend.load("a", None)
        assert await backend.slots("a") == 7
        assert engine.seen[-1].path == "/props?model=a&autoload=false"
        assert await backend.slots("x") is None


async def test_questions_load_nothing():
    async with LlamaCppRouter(["a"]) as engine, calling("llamacpp", engine.url) as backend:
        await backend.available("a", True), await backend.available("a", False)
        await backend.models(), await backend.slots("a")
        assert not engine.loads and all(seen.method == "GET" for seen in engine.seen)
