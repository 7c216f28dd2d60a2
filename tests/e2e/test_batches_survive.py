"""Batches before real processes that are killed: every line stands in the files once, whoever ran it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import aiohttp
import pytest

from broker.batches.results import Results
from broker.folder import Folder
from broker.store.batches import Batch
from scripts.ports import free_ports
from tests.support.backend_seen import seen
from tests.support.balancer import balancer
from tests.support.batches import BATCHES, FILES, SOON, answering, create, ended, get, line, lines_of
from tests.support.brokers import replica
from tests.support.messages import completion
from tests.support.processes import client
from tests.support.provider import Provider
from tests.support.waiting import eventually

LINES = 120


def both(out: list[dict], errors: list[dict]) -> list[str]:
    return sorted(one["custom_id"] for one in out + errors)


@pytest.mark.limit_s(120)
async def test_replicas_are_killed_again_and_again_and_every_line_is_answered_once(stage, redis_real, tmp_path):
    settings = {"files_dir": tmp_path / "files", "batch_ahead": 10, "job_poll_seconds": 0.1}
    ports = free_ports(2)
    one, two, backend = await asyncio.gather(
        stage.broker(port=ports[0], **settings).ready(), stage.broker(port=ports[1], **settings).ready(), stage.backend(delay_s=0.08).ready()
    )
    async with balancer(one.url, two.url) as front, client(front) as api:
        await stage.publisher(front, {"name": "m", "url": backend.url, "slots": 4}).ready()
        batch = await create(api, "\n".join(line(f"c{number:03}", f"q{number}") for number in range(LINES)))
        chance = random.Random(7)
        for round_ in range(3):
            # Whoever runs the batch is one of the two; each is hit at some moment of its work.
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            assert (await get(api, batch))["status"] in ("validating", "in_progress")
            hit = (one, two)[round_ % 2]
            hit.kill()
            hit.start()
            await hit.ready()
        now = await ended(api, batch, 90)
        assert int((await redis_real.read(f"batch:{batch['id']}"))[b"epoch"]) > 1, "nobody who ran it was hit"
        out, errors = await lines_of(api, now["output_file_id"]), await lines_of(api, now["error_file_id"])
        assert now["status"] == "completed" and now["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}, (now, errors)
        assert both(out, errors) == [f"c{number:03}" for number in range(LINES)]
        # What was asked again is what was in hand when somebody died.
        assert LINES <= len(await seen(backend)) <= LINES + 3 * 3 * 4


async def test_a_replica_that_dies_leaves_a_batch_that_another_ends(redis_real, tmp_path):
    given = {"files_dir": str(tmp_path), "batch_ahead": 3, "replica_ttl_seconds": 0.3, **SOON}
    async with replica(redis_real, **given) as staying:
        async with Provider(staying, "m", slots=3) as provider:
            async with replica(redis_real, **given) as dying:
                # Only one of them is there to take it.
                staying.broker.batches._poll_s = 3600
                staying.broker.batches.nudge()
                batch = await create(dying, "\n".join(line(f"c{number}", f"q{number}") for number in range(9)))
                frames = [await provider.next() for _ in range(3)]
                await provider.answer(frames[0], completion(content="a"))
                frames[0] = await provider.next()

                async def one_done() -> bool:
                    return (await get(staying, batch))["request_counts"]["completed"] == 1

                await eventually(one_done)
                await dying.die()
            staying.broker.batches._poll_s = 0.05
            staying.broker.batches.nudge()
            for frame in frames:
                await provider.answer(frame, completion(content="b"))
            async with answering(provider) as asked:
                now = await ended(staying, batch)
            assert now["request_counts"] == {"total": 9, "completed": 9, "failed": 0} and now["status"] == "completed"
            assert both(await lines_of(staying, now["output_file_id"]), []) == [f"c{number}" for number in range(9)]
            assert len(asked) == 5, "lines that were jobs already are not asked again"
        assert (await staying.call("GET", f"{BATCHES}/{batch['id']}"))[1]["id"] == batch["id"]


async def test_a_cancelled_batch_whose_replica_died_leaves_no_line_running(redis_real, tmp_path):
    given = {"files_dir": str(tmp_path), "batch_ahead": 3, "replica_ttl_seconds": 0.3, **SOON}
    async with replica(redis_real, **given) as staying, Provider(staying, "m", slots=3) as provider:
        async with replica(redis_real, **given) as dying:
            staying.broker.batches._poll_s = 3600
            staying.broker.batches.nudge()
            batch = await create(dying, "\n".join(line(f"c{number}") for number in range(9)))
            frames = [await provider.next() for _ in range(3)]
            await dying.die()
        assert (await staying.call("POST", f"{BATCHES}/{batch['id']}/cancel"))[1]["status"] == "cancelling"
        staying.broker.batches._poll_s = 0.05
        staying.broker.batches.nudge()
        stopped = [await provider.next("cancel") for _ in range(3)]
        assert {frame["taskId"] for frame in stopped} == {frame["taskId"] for frame in frames}
        for frame in stopped:
            await provider.fail(frame, "cancelled", "cancelled")
        now = await ended(staying, batch)
        assert now["status"] == "cancelled" and now["request_counts"] == {"total": 9, "completed": 0, "failed": 9}


async def test_a_replica_that_shuts_down_gives_its_batches_back_at_once(redis_real, tmp_path):
    given = {"files_dir": str(tmp_path), "batch_ahead": 3, "replica_ttl_seconds": 20.0, **SOON}
    async with replica(redis_real, **given) as staying, Provider(staying, "m", slots=3) as provider:
        async with replica(redis_real, **given) as leaving:
            staying.broker.batches._poll_s = 3600
            staying.broker.batches.nudge()
            batch = await create(leaving, "\n".join(line(f"c{number}") for number in range(9)))
            frames = [await provider.next() for _ in range(3)]
        staying.broker.batches._poll_s = 0.05
        staying.broker.batches.nudge()
        for frame in frames:
            await provider.answer(frame, completion(content="b"))
        async with answering(provider):
            # Its lease would last a minute.
            now = await ended(staying, batch, 10)
        assert now["request_counts"] == {"total": 9, "completed": 9, "failed": 0}
        assert (await redis_real.read(f"batch:{batch['id']}"))[b"epoch"] == b"2"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_a_file_is_never_in_memory_going_in_nor_out_nor_run(stage, tmp_path):
    broker = await stage.broker(files_dir=tmp_path / "files").ready()

    def peak_mb() -> int:
        status = Path(f"/proc/{broker.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10

    async def large():
        for number in range(96):
            yield b'{"custom_id": "%d", "pad": "' % number + b"x" * (1 << 20) + b'"}\n'

    async with client(broker.url) as api:
        before = peak_mb()
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", large(), filename="large.jsonl")
        async with api.http.post(api.url + FILES, data=form) as response:
            file = await response.json()
        size = 0
        async with api.http.get(f"{api.url}{FILES}/{file['id']}/content") as response:
            async for piece in response.content.iter_any():
                size += len(piece)
        batch = await ended(api, await create(api, file=file["id"]))
        assert size == file["bytes"] > 96 << 20 and batch["request_counts"]["failed"] == 96
        assert peak_mb() - before < 48


async def test_of_a_line_that_was_written_twice_the_first_counts_and_torn_ones_not_at_all(tmp_path):
    folder = Folder(tmp_path)
    batch = Batch(
        "batch_ab", "ann", "/v1/chat/completions", "file-1", "24h", True, "in_progress", 1, 2, 60, epoch=3, total=4, completed=0, failed=0,
        metadata=b"{}",
    )
    await folder.append("batch_ab.000001.out", b'{"id":"batch_req_ab_1","epoch":1}\n{"id":"batch_req_ab_2","response":{"body":{}')
    await folder.append("batch_ab.000001.err", b'{"id":"batch_req_ab_3","epoch":1}\n')
    await folder.append("batch_ab.000002.out", b"".join(
        b'{"id":"batch_req_ab_%d","epoch":2}\n' % number for number in (3, 1, 4)
    ))
    results = Results(folder, batch)
    await results.recover()
    assert (results.succeeded, results.failed) == ({1, 4}, {3})
    kept = {}

    async def nothing():
        return
        yield

    async def end(output, error, usage) -> bool:
        kept.update(output=output, error=error)
        return True

    await results.publish(nothing(), end)
    await results.forget()
    assert (tmp_path / kept["output"][0]).read_bytes() == b'{"id":"batch_req_ab_1","epoch":1}\n{"id":"batch_req_ab_4","epoch":2}\n'
    assert (tmp_path / kept["error"][0]).read_bytes() == b'{"id":"batch_req_ab_3","epoch":1}\n'
    assert sorted(os.listdir(tmp_path)) == sorted([kept["output"][0], kept["error"][0]])
