"""Durable tasks before real processes: whatever is killed, and whenever, each ends with one whole result of its own."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import processes
from tests.support.backend_seen import seen, until_seen
from tests.support.balancer import balancer
from tests.support.job_history import submit_marked, violations
from tests.support.jobs import check_kept_in_order, task, until
from tests.support.places import ServerPlace
from tests.support.processes import client
from tests.support.server import free_ports, single_server

TASKS_AT_ONCE = 6
SETTINGS = {
    "job_retry_seconds": 0.1, "job_poll_seconds": 0.1, "reconnect_grace_seconds": 1.0, "job_attempts": 5,
    "upstream_allow": "127.0.0.0/8",
}


@pytest.fixture
def own_redis(tmp_path):
    """A server that no other test uses."""
    with single_server(tmp_path) as server:
        yield server


@pytest.fixture
def place(own_redis):
    return ServerPlace(own_redis)


@pytest.fixture
def stage(place, tmp_path):
    with processes.stage(tmp_path, place) as made:
        yield made


async def reach(phase: str, api, backend, jobs) -> None:
    """Waits until things are as that phase has them."""
    if phase == "queued":
        await until(api, jobs[0].name, "running", "done")
        return
    if phase == "running":
        await until_seen(backend, lambda one: "first" in one["body"], 10)
        return
    # In the middle of the answers, some of which are over.
    await until(api, jobs[0].name, "done", limit_s=10)
    await until(api, jobs[2].name, "running", "done", limit_s=10)


async def all_done(api, jobs, limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        for one in jobs:
            while True:
                try:
                    if (await task(api, one.name))["state"] in ("done", "dead", "failed", "cancelled"):
                        break
                except AssertionError:
                    # Redis may be away for a moment.
                    pass
                await asyncio.sleep(0.1)


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("phase", ["queued", "running", "answering"])
@pytest.mark.parametrize("victim", ["publisher", "its replica", "the other replica", "redis"])
async def test_whatever_is_killed_each_task_has_one_result(own_redis, place, stage, victim, phase):
    ports = free_ports(2)
    one, two, backend = await asyncio.gather(
        stage.broker(port=ports[0], **SETTINGS).ready(), stage.broker(port=ports[1], **SETTINGS).ready(), stage.backend().ready()
    )
    async with balancer(one.url, two.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        publisher = await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 2}).ready()
        jobs = [await submit_marked(api_2, "m", "first" if not n else f"w{n}-", tokens=8, delay_s=0.05) for n in range(TASKS_AT_ONCE)]
        await reach(phase, api_2, backend, jobs)
        if victim == "redis":
            await asyncio.to_thread(own_redis.restart)
        else:
            process = {"publisher": publisher, "its replica": one, "the other replica": two}[victim]
            process.kill()
            process.start()
            await process.ready()
        await all_done(api_2, jobs, 60)
        assert not await violations([api_1, api_2], jobs, most_attempts=3)
        # What was not interrupted was asked once.
        assert len(await seen(backend)) <= TASKS_AT_ONCE + 2 * 2
        await check_kept_in_order(place)


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("phase", ["running", "answering"])
async def test_calls_to_an_upstream_go_on_at_another_replica_when_theirs_is_killed(stage, phase):
    one, two, backend = await asyncio.gather(
        stage.broker(**SETTINGS).ready(), stage.broker(**SETTINGS).ready(), stage.backend().ready()
    )
    async with client(one.url) as api_1, client(two.url) as api_2:
        status, row, _ = await api_2.call("POST", "/api/v1/llms", {"name": "gpt", "url": backend.url, "slots": 2})
        assert status == 201, row
        jobs = [await submit_marked(api_1, "gpt", "first" if not n else f"w{n}-", tokens=8, delay_s=0.05) for n in range(4)]
        await reach(phase, api_2, backend, jobs)
        one.kill()
        await all_done(api_2, jobs, 60)
        assert not await violations([api_2], jobs, most_attempts=3)


@pytest.mark.limit_s(90)
async def test_a_replica_that_is_told_to_stop_leaves_every_task_to_the_other(stage):
    one, two, backend = await asyncio.gather(
        stage.broker(shutdown_seconds=0.3, **SETTINGS).ready(), stage.broker(**SETTINGS).ready(), stage.backend().ready()
    )
    async with balancer(one.url, two.url) as front, client(one.url) as api_1, client(two.url) as api_2:
        await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 2}).ready()
        await api_2.call("POST", "/api/v1/llms", {"name": "gpt", "url": backend.url})
        jobs = [
            await submit_marked(api_1, ("m", "gpt")[n % 2], "first" if not n else f"w{n}-", tokens=10, delay_s=0.1) for n in range(6)
        ]
        await until_seen(backend, lambda one: "first" in one["body"], 10)
        one.terminate()
        await all_done(api_2, jobs, 60)
        assert not await violations([api_2], jobs, most_attempts=2)
        # A publisher's work went on; only a call that the replica made itself was made again.
        for job in jobs[::2]:
            assert len((await task(api_2, job.name))["attempts"]) == 1
