"""Somebody is killed while durable tasks, idempotent requests and requests to pools are in every phase of their lives: each
ends once, with one answer, and is asked of a backend again only where the death lost what was there."""

from __future__ import annotations

import asyncio

import pytest

from scripts.ports import free_ports
from tests.support import processes
from tests.support.balancer import balancer
from tests.support.live import error
from tests.support.hook_receiver import hook_receiver
from tests.support.job_history import violations, words
from tests.support.jobs import TASKS, check_kept_in_order, task
from tests.support.phases import TOKENS, Phases, set_up
from tests.support.places import ServerPlace
from tests.support.processes import client
from tests.support.public import HERE
from tests.support.server import single_server
from tests.support.waiting import eventually

SETTINGS = {
    **HERE, "job_retry_seconds": 1, "job_poll_seconds": 0.1, "webhook_retry_seconds": 0.5, "webhook_allow": "127.0.0.0/8",
    "reconnect_grace_seconds": 10, "deadline_seconds": 60, "queue_wait_seconds": 60,
}
PHASES = ("line", "sent", "head", "stream", "ended")
#: What a dead publisher, and what a dead caller of an upstream, had begun. An answer of which a client heard something is not
#: begun anew, unless it asks again.
LOST_BY_PUBLISHER = {f"{kind}-{phase}" for kind in ("task", "keyed") for phase in ("head", "stream", "ended")} | {"pooled-head"}
LOST_BY_CALLER = {"task-called-head", "task-called-stream"}


@pytest.fixture
def own_redis(tmp_path):
    """A server that no other test uses. What it has answered it has written."""
    with single_server(tmp_path, "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def place(own_redis):
    return ServerPlace(own_redis)


@pytest.fixture
def stage(place, tmp_path):
    with processes.stage(tmp_path, place) as made:
        yield made


@pytest.mark.timeout(160)
@pytest.mark.limit_s(150)
@pytest.mark.parametrize("victim", ["publishers", "their replica", "the asked replica", "both replicas", "redis"])
async def test_whoever_is_killed_in_whatever_phase_there_is_one_answer(own_redis, place, stage, victim):
    ports = free_ports(2)
    one, two = await asyncio.gather(*(stage.broker(port=port, **SETTINGS).ready() for port in ports))
    heard = asyncio.Event()
    async with balancer(one.url, two.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        async with hook_receiver(heard.is_set) as hook:
            phases = await set_up(stage, place, front, api_2)
            await phases.reach(hook.url)
            victims = {
                "publishers": phases.publishers, "their replica": [one], "the asked replica": [two], "both replicas": [one, two],
                "redis": [own_redis],
            }[victim]
            await kill(victims)
            # One replica must be enough.
            readers = {"their replica": [api_2], "the asked replica": [api_1]}.get(victim, [api_1, api_2])
            if len(readers) == 2:
                await start(victims)
            await phases.go_on()
            heard.set()
            await check_tasks(phases, readers, hook)
            await check_keyed(phases, readers)
            if victim not in ("the asked replica", "both replicas"):
                await check_pooled(phases, publisher_is_dead=victim == "publishers")
            await check_runs(phases, LOST_BY_PUBLISHER if victim == "publishers" else LOST_BY_CALLER)
            await check_kept_in_order(place)
            await phases.leave()


async def kill(victims: list) -> None:
    for one in victims:
        await asyncio.to_thread(one.kill)


async def start(victims: list) -> None:
    for one in victims:
        if isinstance(one, processes.Process):
            one.start()
        else:
            await asyncio.to_thread(one.start)
    await asyncio.gather(*(one.ready() for one in victims if isinstance(one, processes.Process)))


async def check_tasks(phases: Phases, readers: list, hook) -> None:
    for one in phases.tasks.values():
        await eventually(lambda one=one: ended(readers[0], one.name), 60)
    assert not await violations(readers, list(phases.tasks.values()), most_attempts=2)
    name = phases.tasks["task-hook"].name

    async def delivered() -> bool:
        return (await task(readers[-1], name))["webhook"]["state"] == "delivered"

    await eventually(delivered, 70)
    assert len(hook.told[name]) == 1


async def ended(reader, name: str) -> bool:
    status, found, _ = await reader.call("GET", f"{TASKS}/{name}")
    # Redis may be away for a moment.
    assert status in (200, 503), found
    return status == 200 and found["state"] in ("done", "failed", "dead", "cancelled")


async def check_keyed(phases: Phases, readers: list) -> None:
    """Each is answered alike, by whomever it is asked again."""
    for phase in PHASES:
        async with asyncio.timeout(60):
            while (found := await phases.ask_again(readers[0], phase))[0] != 200 or b"[DONE]" not in found[1]:
                await asyncio.sleep(0.05)
        assert words(found[1]) == [f"keyed-{phase}-{number} " for number in range(TOKENS)]
        assert await phases.ask_again(readers[-1], phase) == (200, found[1], True)


async def check_pooled(phases: Phases, *, publisher_is_dead: bool) -> None:
    """Another member took over if nothing had been said; an error ends what had begun; nothing was said twice."""
    for phase in ("sent", "head", "stream", "ended"):
        await phases.waiting[f"pooled-{phase}"]
        answer = phases.streams[f"pooled-{phase}"]
        began = phase in ("stream", "ended")
        rest = [line[6:] for line in (await answer.read()).split(b"\n") if line.startswith(b"data: ")]
        assert answer.status == 200
        if publisher_is_dead:
            assert (answer.headers["X-Served-By"] == "spare") is not began
        if publisher_is_dead and began:
            assert len(rest) == 1 and error(rest[0])["code"] == "publisher_offline"
        else:
            assert rest[-1] == b"[DONE]" and len(rest) == TOKENS + 1 - began


async def check_runs(phases: Phases, lost: set[str]) -> None:
    """Only what was lost was asked of a backend again."""
    for name, times in (await phases.runs()).items():
        assert times <= 1 + (name in lost or name == "task-between"), (name, times)
