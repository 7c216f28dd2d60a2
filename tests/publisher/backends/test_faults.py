"""Every type before a server that is away, hangs, or speaks nonsense."""

from __future__ import annotations

import asyncio

import pytest

from publisher.failures import BackendBroken, BackendUnreachable, RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.engines import KINDS, Engine
from tests.support.waiting import eventually

NATIVE = list(KINDS)
NONSENSE = ["html", "half", "garbage", 404, 500, 503, "redirect", [], {}, {"data": 3}, {"models": "m"}, {"models": [{}]},
            {"data": [{"id": 7}]}, (200, None), (200, "m"), {"version": 1}, {"status": 1}, {"status": []}, {"error": {"x": 1}}]


def type_of(kind: str) -> str:
    return kind.partition("-")[0]


def serving(kind: str, **more: object) -> Engine:
    return KINDS[kind](["m"], **more)


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("resident", [False, True])
async def test_a_server_that_is_away_is_unavailable_and_unreachable(kind, resident):
    async with serving(kind) as engine, calling(type_of(kind), engine.url) as backend:
        await engine.die()
        assert not await backend.available("m", resident)
        with pytest.raises(BackendUnreachable, match=f"backend at {engine.url} refused the connection"):
            await backend.models()
        for call in (backend.load("m", None), backend.unload("m", None)):
            with pytest.raises(RecipeFailed, match=f"{engine.url} refused the connection"):
                await call
        with pytest.raises(BackendUnreachable):
            await backend.infer("chat", b'{"model": "m"}', False)


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("fault", ["hang", "stall"])
async def test_a_server_that_hangs_is_unavailable_within_the_limit_of_a_check(kind, fault):
    async with serving(kind) as engine, calling(type_of(kind), engine.url, check_timeout_s=0.1) as backend:
        engine.faults["*"] = fault
        async with asyncio.timeout(20):
            # A head is all that is looked at of vLLM's health.
            assert not await backend.available("m", False)
            assert not await backend.available("m", True)
            assert await backend.slots("m") is None
            with pytest.raises(BackendBroken, match="no answer in time"):
                await backend.models()


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("fault", NONSENSE, ids=str)
async def test_a_server_that_speaks_nonsense_is_unavailable_and_broken(kind, fault):
    async with serving(kind) as engine, calling(type_of(kind), engine.url, check_timeout_s=1) as backend:
        engine.faults["*"] = fault
        assert not await backend.available("m", False)
        assert not await backend.available("m", True)
        assert await backend.slots("m") is None
        with pytest.raises(BackendBroken, match=f"backend at {engine.url} "):
            await backend.models()


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("fault", ["half", "garbage", 500, 503, {"error": "no"}], ids=str)
async def test_an_order_that_gets_no_proper_answer_fails_the_recipe(kind, fault):
    async with serving(kind) as engine, calling(type_of(kind), engine.url, check_timeout_s=1) as backend:
        engine.faults["*"] = fault
        for call in (backend.load("m", None), backend.unload("m", None)):
            with pytest.raises(RecipeFailed, match=engine.url) as told:
                await call
            assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", NATIVE)
async def test_a_server_that_wants_a_key_says_so_and_takes_it(kind):
    async with serving(kind, api_key="sk-1") as engine:
        async with calling(type_of(kind), engine.url, "sk-1") as backend:
            assert await backend.available("m", False)
            assert await backend.models()
            answer = await backend.infer("chat", b'{"model": "m"}', False)
            answer.close()
            assert answer.status == 200
            assert all(headers["Authorization"] == "Bearer sk-1" for headers in engine.headers)
        engine.open_paths = ()
        async with calling(type_of(kind), engine.url) as backend:
            with pytest.raises(BackendBroken, match="answered 401 .* set the provider's apiKey to its key"):
                await backend.models()
            assert not await backend.available("m", False)
        async with calling(type_of(kind), engine.url, "sk-2") as backend:
            with pytest.raises(BackendBroken, match="answered 401 .* apiKey to one that it accepts"):
                await backend.models()
            for call in (backend.load("m", None), backend.unload("m", None)):
                with pytest.raises(RecipeFailed, match="401.* apiKey to one that it accepts"):
                    await call


@pytest.mark.parametrize("kind", NATIVE)
async def test_a_redirect_is_never_followed_by_questions_orders_or_requests(kind):
    async with serving(kind) as other, serving(kind) as engine, calling(type_of(kind), engine.url) as backend:
        engine.faults["*"] = other.url
        assert not await backend.available("m", False)
        with pytest.raises(BackendBroken, match="answered 307"):
            await backend.models()
        for call in (backend.load("m", None), backend.unload("m", None)):
            with pytest.raises(RecipeFailed, match="307"):
                await call
        assert await chat(backend) == 307
        assert not other.seen


@pytest.mark.parametrize("kind", NATIVE)
async def test_a_list_without_end_is_not_read_to_its_end(kind):
    async with serving(kind) as engine, calling(type_of(kind), engine.url) as backend:
        engine.faults["*"] = {"data": [{"id": "x" * (9 << 20)}]}
        with pytest.raises(BackendBroken, match="larger than 8 MiB"):
            await backend.models()


@pytest.mark.parametrize("kind", NATIVE)
async def test_json_without_bottom_is_nonsense(kind):
    deep: list = []
    for _ in range(500):
        deep = [deep]
    async with serving(kind) as engine, calling(type_of(kind), engine.url) as backend:
        engine.faults["*"] = {"data": deep, "models": deep, "error": deep}
        with pytest.raises(BackendBroken, match="something else than expected"):
            await backend.models()


@pytest.mark.parametrize("kind", NATIVE)
async def test_after_a_death_in_the_middle_of_a_stream_it_is_away_and_after_a_restart_back(kind):
    async with serving(kind) as engine, calling(type_of(kind), engine.url) as backend:
        body = b'{"model": "m", "stream": true, "script": {"hang": "stream"}}'
        answer = await backend.infer("chat", body, True)
        assert b"data: " in await answer.content.readany()
        await engine.die()
        assert not await backend.available("m", False)
        await engine.revive()
        await eventually(lambda: backend.available("m", False))
        answer.close()
