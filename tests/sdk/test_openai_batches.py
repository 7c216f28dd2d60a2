"""The official OpenAI SDK's Files and Batches against a broker, with a publisher and a backend behind it."""

from __future__ import annotations

import json

import openai
import pytest

from tests.sdk.test_openai import HELLO, MODEL, sdk
from tests.support.waiting import eventually


def lines(*models: str) -> bytes:
    asked = [{"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": {"model": model, "messages": HELLO}}
             for number, model in enumerate(models)]
    return "\n".join(json.dumps(one) for one in asked).encode()


async def test_files_are_kept_listed_read_and_deleted(world):
    async with sdk(world) as client:
        made = [await client.files.create(file=(f"{number}.jsonl", lines(MODEL)), purpose="batch") for number in range(3)]
        assert made[0].bytes == len(lines(MODEL)) and made[0].filename == "0.jsonl" and made[0].status == "processed"
        assert (await client.files.retrieve(made[0].id)).to_dict() == made[0].to_dict()
        assert (await client.files.content(made[0].id)).content == lines(MODEL)
        listed = [file.id async for file in client.files.list(purpose="batch", limit=2)]
        assert set(listed) >= {file.id for file in made}
        brief = await client.files.create(file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
        assert brief.expires_at == brief.created_at + 3600
        # Page by page, while they are listed.
        deleted = [(await client.files.delete(file.id)).id async for file in client.files.list(purpose="batch", limit=2)]
        assert set(deleted) >= {file.id for file in (*made, brief)}
        with pytest.raises(openai.NotFoundError):
            await client.files.content(made[0].id)
        with pytest.raises(openai.BadRequestError, match="purpose"):
            await client.files.create(file=b"{}", purpose="vision")


async def test_a_batch_is_run_to_its_end(world):
    async with sdk(world) as client:
        file = await client.files.create(file=lines(*[MODEL] * 20, "nobody"), purpose="batch")
        made = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"},
            output_expires_after={"anchor": "created_at", "seconds": 7200},
        )

        async def done():
            now = await client.batches.retrieve(made.id)
            return now if now.status == "completed" else None

        batch = await eventually(done, 30)
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (21, 20, 1)
        out = [json.loads(one) for one in (await client.files.content(batch.output_file_id)).text.splitlines()]
        assert sorted(one["custom_id"] for one in out) == sorted(f"c{number}" for number in range(20))
        assert all(one["response"]["body"]["choices"][0]["message"]["content"].startswith("tök€n0") for one in out)
        errors = [json.loads(one) for one in (await client.files.content(batch.error_file_id)).text.splitlines()]
        assert [(one["custom_id"], one["error"]["code"]) for one in errors] == [("c20", "model_not_found")]
        output = await client.files.retrieve(batch.output_file_id)
        assert output.purpose == "batch_output" and output.expires_at == output.created_at + 7200
        assert batch.usage.total_tokens == 20 * 4 and batch.metadata == {"a": "b"}
        assert made.id in [one.id async for one in client.batches.list(limit=1)]
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(made.id)


async def test_a_batch_is_cancelled(world):
    async with sdk(world) as client:
        file = await client.files.create(file=lines(*["hanging"] * 3), purpose="batch")
        made = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert (await client.batches.cancel(made.id)).status == "cancelling"

        async def over():
            now = await client.batches.retrieve(made.id)
            return now if now.status == "cancelled" else None

        batch = await eventually(over, 30)
        counts = batch.request_counts
        assert counts.total == counts.completed + counts.failed == 3 and batch.cancelled_at
