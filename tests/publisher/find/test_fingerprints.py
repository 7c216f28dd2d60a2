"""Every type of server is known by what it says, and what only looks like one is not taken for it."""

import asyncio

import pytest

from publisher.find.detect import look, look_at
from tests.publisher.find.little import BROKER, HANG, Little, openai_list
from tests.support.engines import LlamaCpp, LlamaCppRouter, LMStudio, Ollama, VLLM
from tests.support.waiting import eventually

SPA = "<!doctype html><title>a page</title>"
SGLANG = {"model_path": "/m/qwen", "tokenizer_path": "/m/qwen", "is_generation": True}
TGI = {"model_id": "qwen", "max_concurrent_requests": 128, "max_best_of": 2, "version": "3.3.4"}
PROPS = {"default_generation_settings": {}, "total_slots": 2, "build_info": "b1", "model_path": "/m"}
TEI = {**TGI, "model_type": {"embedding": {}}}
TAGS = {"models": [{"name": "a:latest"}]}
GREETING = {"/": "Ollama is running", "/api/tags": TAGS}
SWAP = {"/running": {"running": []}, "/api/version": {"version": "v170"}}
NOT_FOUND = {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("engine", "type_", "server", "models", "native"),
    [
        (lambda: Ollama(["qwen3:8b", "b"]), "ollama", "Ollama 0.35.1", ("qwen3:8b", "b:latest"), True),
        (lambda: VLLM(["org/qwen"]), "vllm", "vLLM 0.29.0", ("org/qwen",), True),
        (lambda: VLLM(["q"], dev=False), "vllm", "vLLM 0.29.0", ("q",), False),
        (lambda: LlamaCpp(["q"]), "llamacpp", "llama.cpp b11277-eae11d221", ("q",), False),
        (lambda: LlamaCppRouter(["a", "b"]), "llamacpp", "llama.cpp router b11277-eae11d221", ("a", "b"), True),
        (lambda: LMStudio(["a"], embeddings=["e"]), "lmstudio", "LM Studio", ("a", "e"), True),
        (lambda: LMStudio([]), "lmstudio", "LM Studio", (), True),
        (lambda: LMStudio(["a"], old=True), "lmstudio", "LM Studio", ("a",), False),
    ],
)
async def test_a_server_is_known_with_its_models_and_nothing_is_loaded(engine, type_, server, models, native):
    async with engine() as there:
        found = await look_at(there.url)
        assert (found.type, found.server, found.url, found.native) == (type_, server, there.url, native)
        assert found.models == models and not found.needs_key
        assert there.loads == 0 and {method for method, _, _ in there.seen} == {"GET"}


@pytest.mark.parametrize(
    ("pages", "server"),
    [
        ({"/get_model_info": SGLANG, "/v1/models": openai_list("m")}, "SGLang"),
        ({"/model_info": SGLANG, "/v1/models": openai_list("m")}, "SGLang"),
        ({**GREETING, "/model_info": SGLANG, "/v1/models": openai_list("m")}, "SGLang"),
        ({"/info": TGI, "/v1/models": openai_list("m")}, "TGI 3.3.4"),
        ({"/info": TEI, "/v1/models": openai_list("m")}, "Text Embeddings Inference 3.3.4"),
        ({**SWAP, "/v1/models": openai_list("m")}, "llama-swap v170"),
        ({"/api/version": {"version": "0.7"}, "/api/tags": TAGS, "/v1/models": openai_list("m"),
          "/api/extra/version": {"result": "KoboldCpp", "version": "1.98"}}, "KoboldCpp 1.98"),
        ({"/v1/models": openai_list("m")}, "OpenAI-compatible server"),
        ({"/version": {"version": "1"}, "/v1/models": openai_list("m", owner="somebody")}, "OpenAI-compatible server"),
    ],
)
async def test_other_servers_are_published_as_openai_below_v1(pages, server):
    async with Little(pages) as there:
        found = await look_at(there.url + "/v1")
        assert (found.type, found.server, found.url, found.models) == ("openai", server, there.url + "/v1", ("m",))


@pytest.mark.parametrize(
    ("pages", "other"),
    [
        ({}, (404, "no")),
        ({}, SPA),
        ({"/api/version": {"version": "0.6.30"}}, SPA),  # Open WebUI
        ({"/api/version": {"version": "0.6.30"}, "/health": {"status": True}, "/v1/models": (404, NOT_FOUND)}, SPA),
        ({"/health": {"status": "ok"}}, (404, "no")),
        ({"/health": SPA}, (500, "no")),
        ({"/api/tags": {"models": "none"}, "/": "Ollama is running"}, (404, "no")),
        ({"/v1/models": [1, 2]}, (404, "no")),
        ({"/v1/models": {"data": ["m"]}}, (404, "no")),
        ({"/props": ["a"], "/api/v1/models": "[", "/info": 7, "/running": {"running": 1}}, (404, "no")),
        ({"/v1/models": (403, "")}, (403, "")),
        ({"/v1/models": (401, SPA)}, (401, SPA)),
        ({}, (302, "", {"Location": "/login"})),
        ({"/version": {"version": 3}, "/props": {"a": 1}}, (404, {"error": "no"})),
        ({"/healthz": {"status": "ok", "version": "1"}}, (404, "no")),
        ({}, {}),
        ({}, (200, "[" * 100_000)),
    ],
)
async def test_what_is_no_llm_server_is_not_found(pages, other):
    async with Little(pages, other) as there:
        assert await look_at(there.url) is None


async def test_a_broker_is_known_and_not_offered_as_a_backend():
    async with Little(BROKER | GREETING) as broker:
        sight = await look(["127.0.0.1"], [broker.port])
        assert (sight.found, sight.brokers) == ([], [broker.url])


async def test_a_broker_that_wants_a_token_is_known_all_the_same():
    pages = {**BROKER, "/v1/models": (401, {"error": {"code": "invalid_token"}})}
    async with Little(pages, (401, {"error": {}})) as broker:
        assert (await look(["127.0.0.1"], [broker.port])).brokers == [broker.url]


@pytest.mark.parametrize("late", ["/healthz", "/openapi.json"])
async def test_a_server_that_is_late_once_is_known_all_the_same(late):
    async with Little(BROKER | {late: HANG}) as broker:
        looking = asyncio.create_task(look(ports=[broker.port]))
        await eventually(lambda: late in [path for _, path, _ in broker.seen])
        broker.pages[late] = BROKER[late]
        sight = await looking
        assert sight.brokers == [broker.url] and not sight.found


@pytest.mark.parametrize(
    ("engine", "type_"),
    [
        (lambda: VLLM(["q"], api_key="k"), "vllm"),
        (lambda: LlamaCpp(["q"], api_key="k"), "llamacpp"),
        (lambda: LlamaCppRouter(["q"], api_key="k"), "llamacpp"),
        (lambda: Ollama(["q"], api_key="k"), "openai"),
        (lambda: LMStudio(["q"], api_key="k"), "openai"),
    ],
)
async def test_a_server_that_wants_a_key_is_shown_as_such_and_opens_with_it(engine, type_):
    async with engine() as there:
        locked = await look_at(there.url)
        assert (locked.type, locked.needs_key, locked.models) == (type_, True, ())
        opened = await look_at(there.url, "k")
        assert not opened.needs_key and len(opened.models) == 1 and opened.type == there.kind.removesuffix("-router")


async def test_an_lm_studio_that_locks_its_rest_api_only():
    quirk = {"error": "Unexpected endpoint or method. (GET /x)"}
    async with Little({"/api/v1/models": (401, {"error": {"message": "no"}})}, quirk) as there:
        found = await look_at(there.url)
        assert (found.type, found.needs_key) == ("lmstudio", True)


async def test_a_failing_list_of_models_is_a_server_all_the_same():
    async with Little({"/v1/models": (500, "no cache"), "/health": {"status": "ok"}}) as there:
        found = await look_at(there.url)
        assert (found.type, found.models) == ("openai", ())
        assert found.note.startswith("answers, but its list of models fails: ")


async def test_a_hanging_list_of_models_is_a_server_all_the_same():
    async with Little({"/v1/models": HANG, "/health": "OK"}) as there:
        sight = await look(["127.0.0.1"], [there.port], 0.1)
        assert [one.type for one in sight.found] == ["openai"] and "list of models fails" in sight.found[0].note


async def test_a_llama_server_that_still_loads_is_found():
    async with LlamaCpp(["q"], load_s=30) as there:
        found = await look_at(there.url)
        assert (found.type, found.note, found.models) == ("llamacpp", "is loading its model", ())


async def test_a_llamafile_and_an_old_llama_server_are_llama_cpp():
    async with Little({"/props": (200, PROPS, {"Server": "llamafile/0.9"}), "/v1/models": openai_list("m")}) as there:
        assert (await look_at(there.url)).server == "llamafile b1"


async def test_a_vllm_that_sleeps_is_found_and_not_disturbed():
    async with VLLM(["q"]) as there:
        there.sleep()
        found = await look_at(there.url)
        assert (found.note, found.models, there.insulted) == ("sleeps now", ("q",), 0)
