"""Durable tasks before real processes: a replica that dies or goes leaves them to another, and each has one whole result.
Every victim in every phase: ``test_every_phase``."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backend_seen import until_seen
from tests.support.balancer import balancer
from tests.support.job_history import submit_marked, violations
from tests.support.jobs import task, until
from tests.support.processes import client

SETTINGS = {
    "job_retry_seconds": 0.1, "job_poll_seconds": 0.1, "job_attempts": 5,
    "upstream_allow": "127.0.0.0/8", "job_upstream_calls": 2,
}


async def reach(phase: str, api, backend, jobs) -> None:
    """Waits until things are as that phase has them."""
    if phase == "running":
        await until_seen(backend, lambda one: "first" in one["body"], 10)
        return
    # In the middle of the answers, some of which are over.
    await until(api, jobs[0].name, "done", limit_s=10)
    await until(api, jobs[2].name, "running", "done", limit_s=10)


async def all_done(api, jobs, limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        for one in jobs:
            while (await task(api, one.name))["state"] not in ("done", "dead", "failed", "cancelled"):
                await asyncio.sleep(0.05)


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("phase", ["running", "answering"])
async def test_calls_to_an_upstream_go_on_at_another_replica_when_theirs_is_killed(stage, phase):
    one, two, backend = await asyncio.gather(
        stage.broker(**SETTINGS).ready(), stage.broker(**SETTINGS).ready(), stage.backend().ready()
    )
    async with client(one.url) as api_1, client(two.url) as api_2:
        status, row, _ = await api_2.call("POST", "/api/v1/llms", {"name": "gpt", "url": backend.url})
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
