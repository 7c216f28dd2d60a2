"""The look at LLM servers: fakes of each type, awake, asleep, away, and with other models than written."""

import asyncio

import pytest
from aiohttp import web

from publisher.check.backend import check_backend, sights
from publisher.check.names import check_names
from publisher.config.values import Command, Native, Pattern, Provider, Recipe
from tests.publisher.check.looking import answering, levels, short
from tests.support.engines.llamacpp import LlamaCpp, LlamaCppRouter
from tests.support.engines.lmstudio import LMStudio
from tests.support.engines.ollama import Ollama
from tests.support.engines.vllm import VLLM

NATIVE = Recipe((Native(),))
PROGRAM = Recipe((Command("true"),))


async def looked(*providers: Provider, limit_s: float = 5.0) -> list[str]:
    return short([finding for sight in await sights(providers, limit_s) for finding in check_backend(sight)])


async def test_a_model_that_is_there_is_well():
    async with LlamaCpp(["qwen3"], slots=4) as server:
        assert await looked(Provider("q", server.url, "qwen3", type="llamacpp")) == [
            "ok: the server has qwen3", "ok: it answers", "ok: 4 at once, as the server tells",
        ]


async def test_near_names_are_offered_for_one_that_is_not_there():
    async with Ollama(["qwen3:8b", "llama3.2:latest"]) as server:
        found = await looked(Provider("q", server.url, "qwen3:7b", type="ollama"))
        assert found[0] == "error: the server does not list qwen3:7b | did you mean qwen3:8b?"
        found = await looked(Provider("q", server.url, "gemma", type="ollama"))
        assert found[0] == "error: the server does not list gemma | it has: qwen3:8b, llama3.2:latest"
        assert (await looked(Provider("q", server.url, "llama3.2", type="ollama")))[0] == "ok: the server has llama3.2"


async def test_where_a_list_is_not_all_there_is_it_is_only_doubtful():
    async with Ollama(["qwen3"]) as server:
        found = await looked(Provider("q", f"{server.url}/v1", "other"))
    assert found[0].startswith("warning: the server does not list other")


async def test_a_server_without_models_says_so():
    async with Ollama([]) as server:
        assert await looked(Provider("q", server.url, "m", type="ollama")) == [
            "error: the server does not list m | load or download it there", "ok: it answers",
            "ok: one request at a time: the server does not tell its slots, and none are set",
        ]


async def test_more_slots_than_the_server_runs_are_doubtful():
    async with LlamaCpp(["m"], slots=2) as server:
        few, many = (Provider("q", server.url, "m", type="llamacpp", slots=slots) for slots in (1, 8))
        assert (await looked(few))[-1] == "ok: 1 at once, of 2 that the server runs"
        assert (await looked(many))[-1].startswith('warning: slots is 8, but the server runs 2 at once | ')


async def test_a_server_that_is_away_is_an_error_unless_it_can_be_woken():
    async with Ollama(["m"]) as server:
        url = server.url
    [found] = await looked(Provider("q", url, "m", type="ollama"))
    assert found.startswith("error: ") and found.endswith("or give it a wake recipe") and url in found
    [found] = await looked(Provider("q", url, "m", type="ollama", wake=PROGRAM))
    assert found.startswith("ok: asleep, its wake recipe is there: ")


async def test_a_model_that_sleeps_is_not_woken_by_the_look():
    async with Ollama(["m"]) as server:
        found = await looked(Provider("q", server.url, "m", type="ollama", wake=NATIVE, sleep=NATIVE))
        assert found[1] == "ok: asleep; a request will wake it"
        assert server.loads == 0 and all(seen.method == "GET" for seen in server.seen)


async def test_a_server_that_would_not_answer_and_cannot_be_woken_is_doubtful():
    async with VLLM(["m"]) as server:
        server.faults["GET /health"] = 503
        found = await looked(Provider("q", server.url, "m", type="vllm"))
    assert found[1].startswith("warning: the server is there, but would not answer now")


async def test_a_wrong_key_is_told_without_the_key():
    async with Ollama(["m"], api_key="right") as server:
        found = await looked(Provider("q", server.url, "m", type="ollama", api_key="wrong-secret"))
    assert found[0].startswith("warning: ") and "401" in found[0] and "wrong-secret" not in found[0]


@pytest.mark.parametrize("fault", [500, "html", "garbage", "hang", "half", "redirect", {"models": 3}], ids=str)
async def test_a_list_that_fails_is_doubtful_and_never_a_traceback(fault):
    async with Ollama(["m"]) as server:
        server.faults["GET /api/tags"] = fault
        found = await looked(Provider("q", server.url, "m", type="ollama"), limit_s=0.5)
    assert len(found) == 1 and found[0].startswith(("warning: ", "error: "))


async def test_patterns_tell_what_they_take():
    async with Ollama(["qwen3:8b", "qwen2:7b", "llama3:8b"]) as server:
        provider = Provider("{model}", server.url, type="ollama", patterns=(Pattern("qwen*"),))
        assert await looked(provider) == ["ok: its patterns take 2 of 3 models: qwen3:8b, qwen2:7b"]
        provider = Provider("{model}", server.url, type="ollama", patterns=(Pattern("gemma*"),))
        assert await looked(provider) == [
            "warning: its patterns take none of the 3 models | the server has: qwen3:8b, qwen2:7b, llama3:8b"
        ]


async def test_one_server_of_many_providers_is_asked_for_its_list_once():
    async with Ollama([f"m{n}" for n in range(20)]) as server:
        found = await looked(*(Provider(f"m{n}", server.url, f"m{n}", type="ollama") for n in range(20)))
        assert found.count("ok: it answers") == 20
        assert [seen.path for seen in server.seen].count("/api/tags") == 1


async def test_servers_are_looked_at_side_by_side():
    async with Ollama(["m"]) as slow, Ollama(["m"]) as slower:
        slow.faults["*"] = slower.faults["*"] = "hang"
        began = asyncio.get_running_loop().time()
        await looked(*(Provider("q", server.url, "m", type="ollama") for server in (slow, slower)), limit_s=1.5)
        assert asyncio.get_running_loop().time() - began < 2.9


async def test_names_that_patterns_make_twice_are_told():
    async with VLLM(["qwen3"]) as one, VLLM(["qwen3", "x"]) as other:
        every = (Pattern("*"),)
        seen = await sights([
            Provider("{model}", one.url, type="vllm", patterns=every),
            Provider("{model}", other.url, type="vllm", patterns=every),
        ])
        assert short(check_names(seen)) == [
            f'warning: "qwen3" would be the name of two: "qwen3" at {one.url} and "qwen3" at {other.url} | give one another "name"'
        ]
        assert short(check_names(seen[1:])) == ["ok: 2 LLMs, each with its own name"]


async def test_an_alias_counts_as_a_name():
    async with VLLM(["a", "b"]) as server:
        seen = await sights([
            Provider("a", server.url, "a", type="vllm", aliases=("b",)),
            Provider("{model}", server.url, type="vllm", patterns=(Pattern("b"),)),
        ])
    assert levels(check_names(seen)) == ["warning"]


async def test_a_server_of_another_type_is_told_from_the_right_one():
    async with answering(lambda request: web.Response(text="<html>hello", content_type="text/html")) as url:
        found = await looked(Provider("q", url, "m", type="vllm"))
    assert found[0].startswith("warning: ") and "type" in found[0]


@pytest.mark.parametrize(
    ("server", "type_", "path", "remedy"),
    [
        (Ollama, "openai", "", 'set "type": "ollama", or let its url end in /v1'),
        (LMStudio, "openai", "", 'set "type": "lmstudio", or let its url end in /v1'),
        (VLLM, "ollama", "", 'set "type": "vllm"'),
        (LlamaCpp, "lmstudio", "/v1", 'set "type": "llamacpp"'),
        (Ollama, "vllm", "", 'set "type": "ollama"'),  # it has the list, and not the rest
        (LMStudio, "llamacpp", "", 'set "type": "lmstudio"'),
    ],
)
async def test_who_really_answers_is_told_with_what_to_write(server, type_, path, remedy):
    async with server(["m"]) as there:
        found = await looked(Provider("q", there.url + path, "m", type=type_))
        assert there.loads == 0
    assert any(one.startswith("warning: ") and one.endswith(f" answers there: {remedy}") for one in found), found


async def test_an_openai_server_without_its_v1_is_told_where_its_api_begins():
    def answer(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m"}]}) if request.path == "/v1/models" else web.Response(status=404)

    async with answering(answer) as url:
        for type_ in ("openai", "ollama"):
            found = await looked(Provider("q", url, "m", type=type_))
            assert found[0].endswith("let its url end in /v1"), found


async def test_a_server_that_could_not_follow_a_native_recipe_is_an_error():
    async with LlamaCpp(["m"]) as one, LlamaCppRouter(["m"]) as router, LMStudio(["m"], old=True) as old:
        needs = "error: the server cannot load and unload models by itself, as its native recipe wants | "
        single = await looked(Provider("q", one.url, "m", type="llamacpp", wake=NATIVE, sleep=NATIVE))
        assert any(found.startswith(needs + "start llama-server without a model") for found in single), single
        older = await looked(Provider("q", old.url, "m", type="lmstudio", wake=NATIVE, sleep=NATIVE))
        assert any(found.startswith(needs + "update LM Studio to 0.4") for found in older), older
        able = await looked(Provider("q", router.url, "m", type="llamacpp", wake=NATIVE, sleep=NATIVE))
        assert not any(found.startswith("error") for found in able), able
        assert router.loads == old.loads == 0
