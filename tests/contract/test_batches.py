"""OpenAI's Batch API: files of requests in, files of answers and errors out, each line once."""

from __future__ import annotations

import asyncio
import json
import os
import time

import pytest

from broker.store.batches import Batches
from broker.store.files import File
from tests.support.batches import BATCHES, CHAT, FILES, SOON, answering, create, ended, get, line, lines_of, upload
from tests.support.brokers import replica
from tests.support.messages import completion
from tests.support.provider import Provider
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


async def test_every_line_is_answered_once_and_failures_stand_in_the_errors_file(redis_at, tmp_path):
    lines = [line(f"c{number}", f"q{number}") for number in range(30)]
    lines[3:3] = ["{broken", "", line("c1"), line("u", url="/v1/embeddings"), line("nobody", model="nobody"), line("r", "refuse"),
                  line("s", stream=True), "x" * 3000]
    async with replica(redis_at, files_dir=str(tmp_path), batch_ahead=7, job_request_bytes=2000, **SOON) as broker:
        async with Provider(broker, "m", slots=4) as provider, answering(provider) as seen:
            made = await create(broker, "\n".join(lines), metadata={"a": "b"})
            assert made["object"] == "batch" and made["status"] in ("validating", "in_progress") and made["metadata"] == {"a": "b"}
            batch = await ended(broker, made)
            assert batch["status"] == "completed" and batch["request_counts"] == {"total": 37, "completed": 30, "failed": 7}
            out, errors = await lines_of(broker, batch["output_file_id"]), await lines_of(broker, batch["error_file_id"])
            assert sorted(seen) == sorted([f"q{number}" for number in range(30)] + ["refuse"])
            assert len(await redis_at.read("files-of:local")) == 3
            # What was written down on the way goes when the batch has ended.
            kept = sorted([batch["input_file_id"], batch["output_file_id"], batch["error_file_id"]])
            await eventually(lambda: sorted(os.listdir(tmp_path / f"ns-{redis_at.namespace}")) == kept)
            assert not [key for key in await redis_at.keys() if key.startswith((b"job:", b"kept:"))], "what is on the disk need not be in Redis"
    answers = {one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"] for one in out}
    assert answers == {f"c{number}": f"q{number}!" for number in range(30)} and len(out) == 30
    assert all(one["response"]["status_code"] == 200 and one["error"] is None and one["response"]["request_id"] for one in out)
    assert {(one["custom_id"], one["error"] and one["error"]["code"], one["error"] and one["error"].get("line")) for one in errors} == {
        (None, "invalid_line", 4), ("c1", "duplicate_custom_id", 6), ("u", "mismatched_endpoint", 7), ("nobody", "model_not_found", None),
        ("r", None, None), ("s", "invalid_body", 10), (None, "line_too_long", 11),
    }
    assert next(one for one in errors if one["custom_id"] == "r")["response"]["status_code"] == 400
    assert batch["usage"]["input_tokens"] == 30 * 7 and batch["usage"]["total_tokens"] == 30 * 10


async def test_responses_and_embeddings_are_batched_too(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), **SOON) as broker, Provider(broker, "m", slots=2) as provider:
        asked = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "hi", "instructions": "be kind"}})
        kept = json.dumps({"custom_id": "b", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "x", "previous_response_id": "r"}})
        async with answering(provider):
            batch = await ended(broker, await create(broker, f"{asked}\n{kept}", endpoint="/v1/responses"))
        out, errors = await lines_of(broker, batch["output_file_id"]), await lines_of(broker, batch["error_file_id"])
        assert out[0]["response"]["body"]["output"][0]["content"][0]["text"] == "hi!" and out[0]["response"]["body"]["object"] == "response"
        assert [(one["custom_id"], one["error"]["code"]) for one in errors] == [("b", "invalid_body")]
        asked = json.dumps({"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}})
        batch = await create(broker, asked, endpoint="/v1/embeddings")
        frame = await provider.next()
        assert frame["operation"] == "embeddings"
        await provider.answer(frame, {"object": "list", "data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2}})
        batch = await ended(broker, batch)
        assert (await lines_of(broker, batch["output_file_id"]))[0]["response"]["body"]["data"][0]["embedding"] == [1.0]


async def test_never_more_lines_than_allowed_are_tasks_at_once(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), batch_ahead=5, **SOON) as broker, Provider(broker, "m", slots=3) as provider:
        batch = await create(broker, "\n".join(line(f"c{number}") for number in range(40)))
        frames = [await provider.next() for _ in range(3)]

        async def jobs() -> int:
            return len([key for key in await redis_real.keys() if key.startswith(b"job:")])

        async def five() -> bool:
            return await jobs() == 5

        await eventually(five)
        for frame in frames:
            await provider.answer(frame, completion(content="x"))
        async with answering(provider):
            while (now := await get(broker, batch))["status"] != "completed":
                assert await jobs() <= 10, "five at work, and five that are just being written down"
                await asyncio.sleep(0)
        assert now["request_counts"] == {"total": 40, "completed": 40, "failed": 0}


async def test_a_cancelled_batch_keeps_what_it_has_and_names_every_other_line(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path), batch_ahead=4, **SOON) as one, replica(redis_at, files_dir=str(tmp_path), **SOON) as other:
        async with Provider(one, "m", slots=2) as provider:
            batch = await create(one, "\n".join(line(f"c{number}", f"q{number}") for number in range(20)))
            first, second = await provider.next(), await provider.next()
            await provider.answer(first, completion(content="done"))
            third = await provider.next()

            async def one_done() -> bool:
                return (await get(other, batch))["request_counts"]["completed"] == 1

            await eventually(one_done)
            status, cancelling, _ = await other.call("POST", f"{BATCHES}/{batch['id']}/cancel")
            assert (status, cancelling["status"]) == (200, "cancelling") and cancelling["cancelling_at"]
            stopped = [await provider.next("cancel"), await provider.next("cancel")]
            assert {frame["taskId"] for frame in stopped} == {second["taskId"], third["taskId"]}
            for frame in stopped:
                await provider.fail(frame, "cancelled", "cancelled")
            now = await ended(other, batch)
            assert now["status"] == "cancelled" and now["cancelled_at"] and now["request_counts"] == {"total": 20, "completed": 1, "failed": 19}
            out, errors = await lines_of(other, now["output_file_id"]), await lines_of(other, now["error_file_id"])
            assert len(out) == 1 and {row["error"]["code"] for row in errors} == {"batch_cancelled"}
            assert {row["custom_id"] for row in out + errors} == {f"c{number}" for number in range(20)} and len(errors) == 19
            assert (await other.call("POST", f"{BATCHES}/{batch['id']}/cancel"))[1]["status"] == "cancelled"


async def test_a_batch_whose_window_is_over_keeps_what_it_has(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        batch = await create(broker, "\n".join(line(f"c{number}") for number in range(5)), window="2s")
        await provider.answer(await provider.next(), completion(content="done"))
        frame = await provider.next()
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        now = await ended(broker, batch)
        assert now["status"] == "expired" and now["expired_at"] and now["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
        assert {row["error"]["code"] for row in await lines_of(broker, now["error_file_id"])} == {"batch_expired"}


@pytest.mark.parametrize(
    ("text", "code"), [("\n\n", "empty_file"), ("{}\n" * 50_001, "too_many_lines")], ids=["empty", "too many"],
)
async def test_a_file_that_is_no_batch_fails_as_a_whole(redis_real, tmp_path, text, code):
    async with replica(redis_real, files_dir=str(tmp_path), **SOON) as broker:
        now = await ended(broker, await create(broker, text))
        assert now["status"] == "failed" and now["errors"]["data"][0]["code"] == code and now["output_file_id"] is None


async def test_what_is_no_batch_is_refused_and_batches_are_their_owners_alone(redis_at, tmp_path):
    async with tokens(redis_at, ann="client+publisher", bob="client") as made, replica(redis_at, files_dir=str(tmp_path), **SOON) as broker:
        ann, bob = bearer(made.ann), bearer(made.bob)
        file = await upload(broker, line("a"), ann)
        good = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        for more, status, param in (
            ({"endpoint": "/v1/moderations"}, 400, "endpoint"), ({"completion_window": "soon"}, 400, "completion_window"),
            ({"input_file_id": "file-no"}, 404, "input_file_id"), ({"metadata": {"a": "b" * 600}}, 400, "metadata"),
            ({"completion_window": "15d"}, 400, "completion_window"),
        ):
            got, body, _ = await broker.call("POST", BATCHES, {**good, **more}, headers=ann)
            assert (got, body["error"]["param"]) == (status, param), body
        assert (await broker.call("POST", BATCHES, good, headers=bob))[0] == 404
        async with Provider(broker, "m", token=made.ann) as provider, answering(provider):
            mine = [await create(broker, line("a"), headers=ann) for _ in range(3)]
            for batch in mine:
                assert (await ended(broker, batch, headers=ann))["status"] == "completed"
        for method, path in (("GET", ""), ("POST", "/cancel")):
            assert (await broker.call(method, f"{BATCHES}/{mine[0]['id']}{path}", headers=bob))[0] == 404
        _, listed, _ = await broker.call("GET", f"{BATCHES}?limit=2", headers=ann)
        assert [one["id"] for one in listed["data"]] == [mine[2]["id"], mine[1]["id"]] and listed["has_more"]
        _, listed, _ = await broker.call("GET", f"{BATCHES}?after={mine[1]['id']}", headers=ann)
        assert [one["id"] for one in listed["data"]] == [mine[0]["id"]] and not listed["has_more"]
        assert (await broker.call("GET", BATCHES, headers=bob))[1]["data"] == []
        assert (await broker.call("POST", f"{BATCHES}/{mine[0]['id']}/cancel", headers=ann))[0] == 409
        assert (await broker.call("GET", f"{FILES}?purpose=batch_output", headers=ann))[1]["has_more"] is False


async def test_who_was_taken_for_dead_can_neither_end_a_batch_nor_keep_it(redis_at):
    store = redis_at.open_store(redis_at.settings())
    try:
        await store.files.put(File("file-1", "a", "batch", 1, 1, 61), "ann")
        soon = Batches(store.batches._link, store.batches._scripts, f"rv:{{{redis_at.namespace}}}:", lease_ms=300)
        await soon.create(
            "batch_1", "ann", endpoint=CHAT, file="file-1", window="24h", created_s=1, expires_s=2, metadata=b"{}", may_wake=True,
            lasts_s=60, ttl_ms=60_000,
        )
        old = await soon.claim()
        assert await soon.claim() is None
        new = await eventually(soon.claim)
        assert new.epoch == old.epoch + 1
        none = ("", 0)
        assert await soon.keep(old) == "lost"
        assert not await soon.end(old, "completed", now_s=1, ttl_ms=60_000, output=("file-2", 1), error=none)
        assert await soon.cancel("batch_1", "ann", now_s=1) == "cancelling" and await soon.keep(new, "in_progress") == "cancelling"
        # It was done before it heard of the cancel; its client heard that it is cancelled.
        assert await soon.end(new, "completed", now_s=1, ttl_ms=60_000, output=none, error=none)
        assert (await soon.get("batch_1", "ann")).status == "cancelled"
        assert await soon.keep(new) == "lost" and await redis_at.read("file:file-2") is None
    finally:
        await store.close()


async def test_batches_stand_in_the_order_in_which_they_were_made(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path), **SOON) as broker, Provider(broker, "m") as provider:
        first = await create(broker, line("a"))
        frame = await provider.next()
        second = await create(broker, line("a", model="nobody"))
        await ended(broker, second)
        await provider.answer(frame, completion(content="x"))
        await ended(broker, first)
        assert [one["id"] for one in (await broker.call("GET", BATCHES))[1]["data"]] == [second["id"], first["id"]]


async def test_an_input_stays_until_its_batch_has_ended(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path), **SOON) as broker, Provider(broker, "m") as provider:
        file = await upload(broker, line("a"), expires_after_s=3600)
        batch = await create(broker, file=file, window="7d")
        frame = await provider.next()
        status, body, _ = await broker.call("DELETE", f"{FILES}/{file}")
        assert (status, body["error"]["code"]) == (409, "file_in_use") and batch["id"] in body["error"]["message"]
        assert (await broker.call("GET", f"{FILES}/{file}"))[1]["expires_at"] == batch["expires_at"] + 86_400
        assert await redis_at.ttl_ms(f"file:{file}") > 7 * 86_400_000
        await provider.answer(frame, completion(content="x"))
        assert (await ended(broker, batch))["status"] == "completed"
        assert (await broker.call("DELETE", f"{FILES}/{file}"))[0] == 200


async def test_output_files_are_kept_as_long_as_was_asked(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), **SOON) as broker:
        lasting = {"anchor": "created_at", "seconds": 7200}
        batch = await ended(broker, await create(broker, line("a", model="nobody"), output_expires_after=lasting))
        _, file, _ = await broker.call("GET", f"{FILES}/{batch['error_file_id']}")
        assert file["expires_at"] == file["created_at"] + 7200
        for wrong in ({"anchor": "created_at", "seconds": 60}, {"anchor": "birth", "seconds": 7200}):
            asked = {"input_file_id": batch["input_file_id"], "endpoint": CHAT, "completion_window": "24h", "output_expires_after": wrong}
            status, body, _ = await broker.call("POST", BATCHES, asked)
            assert status == 400 and "output_expires_after" in body["error"]["message"]


async def test_a_batch_whose_input_nobody_finds_does_not_stay_under_way_for_ever(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), replica_ttl_seconds=0.1, **SOON) as broker:
        file = await upload(broker, line("a"))
        (tmp_path / f"ns-{redis_real.namespace}" / file).unlink()
        now = int(time.time())
        for name, ended_s in (("batch_1", now), ("batch_2", now - 86_500)):
            await broker.broker.store.batches.create(
                name, "local", endpoint=CHAT, file=file, window="1s", created_s=now, expires_s=ended_s, metadata=b"{}", may_wake=True,
                lasts_s=3600, ttl_ms=60_000,
            )
        batch = await ended(broker, {"id": "batch_2"})
        assert batch["status"] == "failed" and batch["errors"]["data"][0]["code"] == "input_file_gone"
        assert (await get(broker, {"id": "batch_1"}))["status"] == "validating", "another replica may have its bytes"
        await redis_real.lose("batches", "batch:batch_1")


async def test_an_answer_of_any_length_is_in_the_output(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), max_result_bytes=2000, **SOON) as broker, Provider(broker, "m") as provider:
        body = {"model": "m", "input": "x", "instructions": "i" * 20_000}
        asked = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body})
        async with answering(provider):
            batch = await ended(broker, await create(broker, asked, endpoint="/v1/responses"))
        assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
        assert len(await lines_of(broker, batch["output_file_id"])) == 1
