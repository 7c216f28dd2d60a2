"""Making room at the bound: the busy one gets no new work, ends what it has, and takes work again if nothing comes of it."""

from __future__ import annotations

import asyncio

import pytest

from publisher.failures import WakeFailed
from publisher.power.ways import State
from tests.publisher.power.test_group import GPU, virtually


def seconds() -> float:
    return asyncio.get_running_loop().time()


@virtually
async def test_a_busy_one_takes_new_work_until_the_bound_and_then_only_ends_what_it_has():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b", group_wait_s=30.0)
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(29.9)
    assert not a.held and not a.power.draining
    await asyncio.sleep(0.2)
    assert a.held and a.power.draining and b.power.in_line
    await asyncio.sleep(500)
    assert gpu.loaded == {"a"}, "what runs is waited for, however long it takes"
    a.work = 0
    await waking
    assert gpu.loaded == {"b"} and not a.power.draining and not b.power.in_line


@virtually
async def test_without_patience_it_is_held_back_at_once():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b", group_wait_s=0.0)
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(0.01)
    assert a.held
    a.work = 0
    await waking


@virtually
async def test_the_minimum_time_ends_at_the_bound():
    gpu = GPU()
    a, b = gpu.model("a", min_awake_s=300.0), gpu.model("b", group_wait_s=20.0)
    await a.power.up()
    began = seconds()
    await b.power.up()
    assert began + 20 <= seconds() < began + 23


@virtually
async def test_a_wake_that_is_stopped_lets_the_other_one_take_work_again():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b", group_wait_s=1.0)
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(2)
    assert a.held
    await b.power.stop()
    with pytest.raises(WakeFailed, match="is stopped"):
        await waking
    assert not a.held and a.power.state is State.AWAKE


@virtually
async def test_a_sleep_that_fails_at_the_bound_lets_it_take_work_again_and_says_why():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b", group_wait_s=1.0)
    a.work, a.breaks = 1, True
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(2)
    a.work = 0
    with pytest.raises(WakeFailed, match='"a" did not make room'):
        await waking
    assert not a.held and a.power.state is State.AWAKE


@virtually
async def test_two_names_of_one_busy_model_are_both_held_back():
    gpu = GPU()
    same = object()
    one, other = (gpu.model(name, awake=True, model=same) for name in ("a", "a2"))
    b = gpu.model("b", group_wait_s=1.0)
    one.work = other.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(1.1)
    assert one.held and other.held
    one.work = other.work = 0
    await waking
    assert gpu.loaded == {"b"}


@virtually
async def test_the_patience_of_the_next_in_turn_begins_with_its_turn():
    gpu = GPU()
    a, b, c = gpu.model("a", awake=True), gpu.model("b"), gpu.model("c", group_wait_s=10.0)
    a.work = 1
    first = asyncio.create_task(b.power.up())
    await asyncio.sleep(0.01)
    second = asyncio.create_task(c.power.up())
    await asyncio.sleep(30)
    a.work = 0
    await first
    b.work, began = 1, seconds()
    await asyncio.sleep(9)
    assert not b.held, "it has just come"
    await asyncio.sleep(2)
    assert b.held
    b.work = 0
    await second
    assert gpu.loaded == {"c"} and seconds() < began + 14


@virtually
async def test_what_an_edit_of_the_config_puts_in_its_place_has_to_make_room_too():
    gpu = GPU()
    same = object()
    a, b = gpu.model("a", awake=True, model=same), gpu.model("b", group_wait_s=10.0)
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(11)
    assert a.held
    edited = gpu.model("a", awake=True, model=same)
    edited.work, a.work = 1, 0
    await a.power.stop()
    await asyncio.sleep(1)
    assert gpu.loaded == {"a"} and not a.held and edited.held, "the time that b waited counts on"
    edited.work = 0
    await waking
    assert gpu.loaded == {"b"} and gpu.order == ["-a", "+b"]


@virtually
async def test_a_sleep_that_is_called_off_does_not_begin_the_minimum_time_anew():
    gpu = GPU()
    a, b = gpu.model("a", min_awake_s=30.0), gpu.model("b", group_wait_s=300.0)
    await a.power.up()
    began = seconds()
    await asyncio.sleep(29)
    a.refuses = 1
    await b.power.up()
    assert began + 30 <= seconds() < began + 35


@virtually
async def test_one_that_is_published_no_more_while_it_makes_room_sleeps_before_the_other_one_wakes():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b", group_wait_s=1.0)
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(2)
    a.work = 0
    await a.power.stop()
    await waking
    assert gpu.order == ["-a", "+b"] and gpu.most == 1
