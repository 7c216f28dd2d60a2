"""OpenAI's Files API: what is kept on the disk and what of it in Redis."""

from __future__ import annotations

import asyncio
import os
import time

import aiohttp
import pytest

from tests.support.brokers import Replica, replica
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

PATH = "/v1/files"
LINES = b'{"custom_id": "1"}\n' * 10


def form(content: object = LINES, **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData({"purpose": "batch", **fields})
    made.add_field("file", content, filename="lines.jsonl", content_type="application/jsonl")
    return made


async def upload(broker: Replica, data: object = None, headers: dict | None = None) -> tuple[int, dict]:
    async with broker.http.post(broker.url + PATH, data=data or form(), headers=headers) as response:
        return response.status, await response.json()


async def content(broker: Replica, file: str, headers: dict | None = None) -> bytes:
    async with broker.http.get(f"{broker.url}{PATH}/{file}/content", headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def test_a_file_is_read_at_any_replica_that_shares_the_folder(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path)) as one, replica(redis_at, files_dir=str(tmp_path)) as other:
        status, file = await upload(one)
        assert status == 200 and file["bytes"] == len(LINES) and file["object"] == "file" and file["filename"] == "lines.jsonl"
        assert file["expires_at"] == file["created_at"] + 30 * 86_400
        assert (await other.call("GET", f"{PATH}/{file['id']}"))[1] == file
        assert await content(other, file["id"]) == LINES
        status, gone, _ = await other.call("DELETE", f"{PATH}/{file['id']}")
        assert (status, gone) == (200, {"id": file["id"], "object": "file", "deleted": True})
        for path in (f"{PATH}/{file['id']}", f"{PATH}/{file['id']}/content"):
            status, body, _ = await one.call("GET", path)
            assert (status, body["error"]["code"]) == (404, "unknown_file")
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


async def test_a_replica_that_does_not_see_the_bytes_says_what_is_needed(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path / "a")) as one, replica(redis_at, files_dir=str(tmp_path / "b")) as other:
        _, file = await upload(one)
        status, body, _ = await other.call("GET", f"{PATH}/{file['id']}/content")
        assert (status, body["error"]["code"]) == (503, "file_not_here") and "BROKER_FILES_DIR" in body["error"]["message"]


async def test_files_are_listed_page_by_page_and_are_their_owners_alone(redis_at, tmp_path):
    async with tokens(redis_at, ann="client", bob="client") as made, replica(redis_at, files_dir=str(tmp_path)) as broker:
        ann, bob = bearer(made.ann), bearer(made.bob)
        names = []
        for _ in range(5):
            names.append((await upload(broker, headers=ann))[1]["id"])
            await asyncio.sleep(0.002)  # their order is that of their times
        _, first, _ = await broker.call("GET", f"{PATH}?limit=2", headers=ann)
        assert [file["id"] for file in first["data"]] == names[:2:-1] and first["has_more"]
        _, rest, _ = await broker.call("GET", f"{PATH}?limit=9&after={first['last_id']}", headers=ann)
        assert [file["id"] for file in rest["data"]] == names[2::-1] and not rest["has_more"]
        assert (await broker.call("GET", f"{PATH}?purpose=batch_output", headers=ann))[1]["data"] == []
        assert (await broker.call("GET", f"{PATH}?order=asc", headers=ann))[1]["first_id"] == names[0]
        assert (await broker.call("GET", PATH, headers=bob))[1]["data"] == []
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert (await broker.call(method, f"{PATH}/{names[0]}{path}", headers=bob))[0] == 404
        assert (await broker.call("GET", f"{PATH}?after=nothing", headers=ann))[0] == 400
        assert (await broker.call("GET", f"{PATH}?limit=0", headers=ann))[0] == 400


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        (lambda: form(purpose="assistants"), 400, "purpose"), (lambda: form(b"x" * 2000), 413, None),
        (lambda: aiohttp.FormData({"purpose": "batch", "a": "b"}), 400, None),
        (lambda: b"{}", 400, None), (lambda: form(**{"expires_after[anchor]": "created_at", "expires_after[seconds]": "5"}), 400, "expires_after"),
        (lambda: form(purpose="b" * 1001), 400, "purpose"),
    ],
)
async def test_what_is_no_file_for_a_batch_is_refused_and_leaves_nothing(redis_real, tmp_path, data, status, param):
    async with replica(redis_real, files_dir=str(tmp_path), file_bytes=1500) as broker:
        got, body = await upload(broker, data())
        assert (got, body["error"]["param"]) == (status, param), body
        assert not [key for key in await redis_real.keys() if key.startswith(b"file")]
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


async def test_a_large_file_is_never_in_memory_and_a_broken_upload_leaves_nothing(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), file_bytes=100 << 20) as broker:

        async def large():
            for _ in range(96):
                yield b"x" * (1 << 20)

        status, file = await upload(broker, form(large()))
        assert status == 200 and file["bytes"] == 96 << 20

        async def broken():
            yield b"x" * 100_000
            raise ConnectionResetError

        with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
            await upload(broker, form(broken()))
        await eventually(lambda: os.listdir(tmp_path / f"ns-{redis_real.namespace}") == [file["id"]])


async def test_bytes_without_a_row_are_cleared_when_they_are_old(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path)) as broker:
        _, kept = await upload(broker)
        _, lost = await upload(broker)
        _, young = await upload(broker)
        await redis_at.lose(f"file:{lost['id']}", f"file:{young['id']}")
        assert [file["id"] for file in (await broker.call("GET", PATH))[1]["data"]] == [kept["id"]]
        assert len(await redis_at.read("files-of:local")) == 1, "a row that has ended leaves the list as well"
        folder = tmp_path / f"ns-{redis_at.namespace}"
        for name in (kept, lost):
            os.utime(folder / name["id"], (time.time() - 90_000,) * 2)
        assert await broker.broker.folder.clear(broker.broker.store.files.known, older_than_s=86_400) == 1
        assert sorted(os.listdir(folder)) == sorted([kept["id"], young["id"]])


async def test_a_broker_without_a_folder_says_which_setting_it_needs(redis_real):
    async with replica(redis_real) as broker:
        status, body = await upload(broker)
        assert (status, body["error"]["code"]) == (503, "files_unavailable") and "BROKER_FILES_DIR" in body["error"]["message"]
