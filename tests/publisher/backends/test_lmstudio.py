"""The type "lmstudio": what is loaded by its REST API, also where that is an older one."""

from __future__ import annotations

import pytest

from publisher.failures import BackendBroken, RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.engines import LMStudio, Model


@pytest.mark.parametrize("path", ["", "/v1", "/v1/", "/api/v1", "/api/v0"])
async def test_the_url_may_be_the_root_or_any_of_its_apis(path):
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url + path) as backend:
        assert await backend.available("a", False)
        assert await chat(backend, "a") == 200
    assert [seen.path for seen in engine.seen] == ["/api/v1/models", "/v1/models", "/v1/chat/completions"]


@pytest.mark.parametrize("old", [False, True])
async def test_all_models_are_listed_those_that_embed_too(old):
    async with LMStudio(["a", "b"], embeddings=["e"], old=old) as engine, calling("lmstudio", engine.url) as backend:
        assert await backend.models() == ["a", "b", "e"]


@pytest.mark.parametrize("old", [False, True])
async def test_a_model_that_is_not_loaded_is_available_but_not_in_memory(old):
    async with LMStudio(["a", "b"], old=old) as engine, calling("lmstudio", engine.url) as backend:
        assert await backend.available("a", False) and not await backend.available("a", True)
        assert await chat(backend, "a") == 200
        assert await backend.available("a", True) and not await backend.available("b", True)


@pytest.mark.parametrize("old", [False, True])
async def test_told_not_to_load_by_itself_only_what_is_loaded_is_available(old):
    here = Model("b", loaded=True, instances=["b"])
    async with LMStudio(["a", here], jit=False, old=old) as engine, calling("lmstudio", engine.url) as backend:
        assert await backend.available("b", False) and not await backend.available("a", False)
        assert (await chat(backend, "b"), await chat(backend, "a")) == (200, 404)
        assert engine.loaded == ["b"]


async def test_a_model_goes_by_the_quantization_that_is_selected():
    async with LMStudio(["a"], variants={"a": "a@q4_k_m"}) as engine, calling("lmstudio", engine.url) as backend:
        assert not await backend.available("a@q4_k_m", True)
        await backend.load("a@q4_k_m", None)
        assert await backend.available("a@q4_k_m", True) and engine.loaded == ["a"]
        await backend.unload("a@q4_k_m", None)
        assert engine.loaded == []


async def test_it_is_loaded_once_however_often_it_is_ordered():
    async with LMStudio(["a"], embeddings=["e"]) as engine, calling("lmstudio", engine.url) as backend:
        await backend.load("a", None)
        await backend.load("a", None)
        await backend.load("e", None)
        assert engine.models["a"].instances == ["a"] and await backend.available("e", True)
        assert engine.asked("/api/v1/models/load") == [{"model": "a"}, {"model": "e"}]


async def test_every_instance_of_the_model_is_unloaded_and_no_other():
    async with LMStudio(["a", "b"]) as engine, calling("lmstudio", engine.url) as backend:
        await backend.load("a", None)
        await backend.load("b", None)
        engine.models["a"].instances.append("a:2")
        await backend.unload("a", None)
        assert engine.asked("/api/v1/models/unload") == [{"instance_id": "a"}, {"instance_id": "a:2"}]
        assert engine.loaded == ["b"]
        await backend.unload("a", None)


async def test_a_model_goes_by_the_name_of_its_instance_too():
    async with LMStudio(["org/a"]) as engine, calling("lmstudio", engine.url) as backend:
        await backend.load("org/a", None)
        engine.models["org/a"].instances[:] = ["mine"]
        assert await backend.available("mine", True) and await backend.available("org/a", True)
        await backend.unload("mine", None)
        assert not engine.loaded


async def test_an_instance_that_went_by_itself_is_fine():
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url) as backend:
        await backend.load("a", None)
        engine.faults["/api/v1/models/unload"] = 404
        await backend.unload("a", None)


async def test_a_load_may_take_longer_than_a_check():
    async with LMStudio(["a"], load_s=1.2) as engine, calling("lmstudio", engine.url, check_timeout_s=0.8) as backend:
        await backend.load("a", None)
        assert engine.loaded == ["a"]


async def test_a_load_that_fails_is_told_in_its_words():
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url) as backend:
        engine.load_fails["a"] = 1
        with pytest.raises(RecipeFailed, match=r'did not load "a" \(500\): Failed to load model: out of memory'):
            await backend.load("a", None)
        with pytest.raises(RecipeFailed, match=r'did not load "x" \(404\): Model "x" not found'):
            await backend.load("x", None)


async def test_a_refusal_inside_a_200_is_a_failure():
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url) as backend:
        engine.faults["/api/v1/models/load"] = {"error": "Unexpected endpoint or method. (POST /api/v1/models/load)"}
        with pytest.raises(RecipeFailed, match=r'did not load "a" \(200\): Unexpected endpoint'):
            await backend.load("a", None)


async def test_an_old_version_says_to_update_or_to_use_a_command():
    async with LMStudio(["a"], old=True) as engine, calling("lmstudio", engine.url) as backend:
        for to, call in (("load", backend.load("a", None)), ("unload", backend.unload("a", None))):
            with pytest.raises(RecipeFailed, match=rf"older than 0\.4 .* update it, or use a command recipe \(lms {to}\)"):
                await call
    assert all(seen.method == "GET" for seen in engine.seen)


async def test_a_server_that_answers_everything_with_an_error_is_no_lm_studio():
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url) as backend:
        engine.faults["*"] = {"error": "Unexpected endpoint or method."}
        assert not await backend.available("a", False)
        with pytest.raises(BackendBroken, match="/api/v1/models with something else than expected: check the provider's type"):
            await backend.models()
        with pytest.raises(RecipeFailed, match="something else than expected"):
            await backend.load("a", None)


@pytest.mark.parametrize(("parallel", "slots"), [(4, 4), (1, 1), (0, None), (None, None)])
async def test_slots_are_told_of_a_loaded_model(parallel, slots):
    async with LMStudio(["a"], parallel=parallel) as engine, calling("lmstudio", engine.url) as backend:
        assert await backend.slots("a") is None
        await backend.load("a", None)
        assert await backend.slots("a") == slots
        assert await backend.slots("x") is None


async def test_questions_load_nothing():
    async with LMStudio(["a"]) as engine, calling("lmstudio", engine.url) as backend:
        await backend.available("a", True), await backend.available("a", False)
        await backend.models(), await backend.slots("a")
        assert not engine.loads and all(seen.method == "GET" for seen in engine.seen)
