"""OpenAI's Files API: what is kept on the disk and what of it in Redis."""

from __future__ import annotations

import asyncio
import os
import time

import aiohttp
import pytest

from broker.store.files import File
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
        assert len((await broker.call("GET", f"{PATH}?limit=10000", headers=ann))[1]["data"]) == 5


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


async def test_a_long_list_is_looked_through_to_its_end(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path)) as broker:
        files = broker.broker.store.files
        names = [f"file-{number:04}" for number in range(2010)]
        for name in names:
            await files.put(File(name, "a", "batch" if name < "file-0005" else "batch_output", 1, 1, 100), "local")
        _, found, _ = await broker.call("GET", f"{PATH}?purpose=batch&limit=3")
        assert [file["id"] for file in found["data"]] == names[4:1:-1] and found["has_more"]
        _, found, _ = await broker.call("GET", f"{PATH}?purpose=batch&limit=3&after={found['last_id']}")
        assert [file["id"] for file in found["data"]] == names[1::-1] and not found["has_more"]
        await redis_real.lose(*(f"file:{name}" for name in names[:2007]))
        _, found, _ = await broker.call("GET", f"{PATH}?order=asc&limit=2")
        assert [file["id"] for file in found["data"]] == names[2007:2009] and found["has_more"]


async def test_who_deletes_files_page_by_page_deletes_all(redis_at, tmp_path):
    async with replica(redis_at, files_dir=str(tmp_path)) as broker:
        for _ in range(5):
            await upload(broker)
        after, deleted = "", 0
        while after is not None:
            _, page, _ = await broker.call("GET", f"{PATH}?limit=2&after={after}")
            for file in page["data"]:
                assert (await broker.call("DELETE", f"{PATH}/{file['id']}"))[0] == 200
                deleted += 1
            after = page["last_id"] if page["has_more"] else None
        assert deleted == 5 and (await broker.call("GET", PATH))[1]["data"] == []
        assert await redis_at.read("files-of:local") in ([], None)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"../../etc/passwd", "passwd"), (rb"C:\\tmp\\a.jsonl", "a.jsonl"), (b"a\xff.jsonl", "a\ufffd.jsonl"), (b"..", "file"), (b"", "file"),
        ("ünï.jsonl".encode(), "ünï.jsonl"), (b"x" * 300 + b".jsonl", "x" * 249 + ".jsonl"),
    ],
)
async def test_a_files_name_is_a_text_without_folders(redis_real, tmp_path, said, shown):
    body = (b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n{}\r\n--B--\r\n' % said)
    async with replica(redis_real, files_dir=str(tmp_path)) as broker:
        status, file, _ = await broker.call("POST", PATH, body, headers={"Content-Type": "multipart/form-data; boundary=B"})
        assert (status, file.get("filename")) == (200, shown), file
        long = b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n%s\r\n--B--\r\n' % (b"x" * 1001)
        status, refused, _ = await broker.call("POST", PATH, long, headers={"Content-Type": "multipart/form-data; boundary=B"})
        assert (status, refused["error"]["param"]) == (400, "\ufffd"), refused


async def test_an_upload_that_only_trickles_is_ended(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), body_seconds=0.3) as broker:

        async def trickle():
            while True:
                yield b"x" * 100
                await asyncio.sleep(0.05)

        async with asyncio.timeout(15):
            status, body = await upload(broker, form(trickle()))
        assert (status, body["error"]["code"]) == (408, "request_timeout")
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]
