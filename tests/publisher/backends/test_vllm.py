"""The type "vllm": never available while it sleeps, woken and put to sleep by its sleep mode."""

from __future__ import annotations

import pytest

from publisher.failures import RecipeFailed
from tests.publisher.backends.calling import calling, chat
from tests.support.engines import VLLM


@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
async def test_the_url_may_be_the_root_or_the_openai_api(path):
    async with VLLM() as engine, calling("vllm", engine.url + path) as backend:
        assert await backend.available("m", False)
        assert await backend.models() == ["m"]
        assert await chat(backend) == 200


@pytest.mark.parametrize("resident", [False, True])
async def test_a_sleeping_server_is_not_available_until_it_is_woken(resident):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        assert await backend.available("m", resident)
        await backend.unload("m", None)
        assert engine.sleeping and not await backend.available("m", resident)
        await backend.load("m", None)
        assert not engine.sleeping and await backend.available("m", resident)
        assert await chat(backend) == 200
        assert (engine.insulted, engine.nonsense) == (0, 0)


@pytest.mark.parametrize("resident", [False, True])
async def test_without_development_mode_it_never_sleeps(resident):
    async with VLLM(dev=False) as engine, calling("vllm", engine.url) as backend:
        assert await backend.available("m", resident)


@pytest.mark.parametrize(("status", "up"), [(401, True), (403, True), (404, True), (405, True), (500, False), (503, False)])
async def test_only_a_server_error_about_its_sleep_makes_it_unavailable(status, up):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.faults["/is_sleeping"] = status
        assert await backend.available("m", False) is up


@pytest.mark.parametrize("said", [{}, {"is_sleeping": "no"}, {"is_sleeping": None}, [], "html", "half"])
async def test_nonsense_about_its_sleep_makes_it_unavailable(said):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.faults["/is_sleeping"] = said
        assert not await backend.available("m", False)


@pytest.mark.parametrize("status", [204, 404, 500, 503])
async def test_only_200_is_healthy(status):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.faults["/health"] = status
        assert not await backend.available("m", False)


@pytest.mark.parametrize(("level", "sent"), [(None, "1"), (1, "1"), (2, "2")])
async def test_it_sleeps_at_the_level_that_is_wanted(level, sent):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        await backend.unload("m", level)
    assert [seen.path for seen in engine.seen] == [f"/sleep?level={sent}"]


async def test_waking_from_level_1_loads_no_weights():
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        await backend.unload("m", 1)
        await backend.load("m", None)
        assert not engine.asked("/collective_rpc") and not engine.weights_lost


async def test_waking_from_level_2_loads_the_weights_before_the_rest():
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        await backend.unload("m", 2)
        await backend.load("m", None)
        assert [seen.path for seen in engine.seen if seen.method == "POST"] == [
            "/sleep?level=2", "/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache", "/reset_prefix_cache",
        ]
        assert await backend.available("m", True) and not engine.weights_lost
        await backend.unload("m", 1)
        await backend.load("m", None)
        assert len(engine.asked("/collective_rpc")) == 1


async def test_a_level_2_sleep_of_somebody_else_is_seen_in_the_metrics():
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.sleep(2)
        await backend.load("m", None)
        assert not engine.weights_lost and await backend.available("m", True)
        engine.sleep(1)
        await backend.load("m", None)
        assert len(engine.asked("/collective_rpc")) == 1


@pytest.mark.parametrize("fault", [404, "html", "hang", "half"])
async def test_without_metrics_it_wakes_as_it_was_put_to_sleep_here(fault):
    async with VLLM() as engine, calling("vllm", engine.url, check_timeout_s=0.8) as backend:
        engine.faults["/metrics"] = fault
        await backend.unload("m", 2)
        await backend.load("m", None)
        assert not engine.weights_lost
        await backend.unload("m", 1)
        await backend.load("m", None)
        assert len(engine.asked("/collective_rpc")) == 1


async def test_weights_that_did_not_load_keep_it_asleep_and_are_tried_again():
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        await backend.unload("m", 2)
        engine.faults["/collective_rpc"] = 500
        with pytest.raises(RecipeFailed, match="answered 500 to /collective_rpc: made to fail"):
            await backend.load("m", None)
        assert not await backend.available("m", True)
        engine.faults.clear()
        await backend.load("m", None)
        assert await backend.available("m", True) and not engine.weights_lost


async def test_without_its_sleep_mode_the_recipe_says_how_to_get_it():
    async with VLLM(dev=False) as engine, calling("vllm", engine.url) as backend:
        for call in (backend.load("m", None), backend.unload("m", 2)):
            with pytest.raises(RecipeFailed, match="start it with --enable-sleep-mode, and with VLLM_SERVER_DEV_MODE=1"):
                await call


async def test_a_sleep_that_fails_asks_for_the_flag():
    async with VLLM(sleep_mode=False) as engine, calling("vllm", engine.url) as backend:
        with pytest.raises(RecipeFailed, match=r"answered 500 to /sleep \(was it started with --enable-sleep-mode\?\)"):
            await backend.unload("m", 1)


async def test_a_wake_may_take_longer_than_a_check():
    async with VLLM(load_s=1.2) as engine, calling("vllm", engine.url, check_timeout_s=0.8) as backend:
        engine.sleep()
        await backend.load("m", None)
        assert await backend.available("m", True)


async def test_its_slots_are_what_its_scheduler_runs_at_once():
    async with VLLM(slots=32) as engine, calling("vllm", engine.url) as backend:
        assert await backend.slots("m") == 32
    assert engine.seen[0].path == "/server_info?config_format=json"


@pytest.mark.parametrize(
    "said",
    [404, "html", {"vllm_config": "max_num_seqs=3"}, {"vllm_config": {"scheduler_config": {"max_num_seqs": "3"}}},
     {"vllm_config": {"scheduler_config": {"max_num_seqs": 0}}}, {"vllm_config": {"scheduler_config": {"max_num_seqs": -1}}}],
)
async def test_slots_that_it_does_not_tell_are_none(said):
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.faults["/server_info"] = said
        assert await backend.slots("m") is None


async def test_questions_wake_nothing():
    async with VLLM() as engine, calling("vllm", engine.url) as backend:
        engine.sleep()
        await backend.available("m", True), await backend.models(), await backend.slots("m")
        assert engine.sleeping and all(seen.method == "GET" for seen in engine.seen)
