"""The embedded server: what survives, who may own it, and that it never outlives its owner."""

import asyncio
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import redis

from broker.embedded import EmbeddedError, EmbeddedServer, attach, default_data_dir
from broker.embedded.ownership import announce, owner_lock, server_lock
from broker.embedded.places import socket_path
from broker.store.address import parse
from tests.support.servers import until

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio, sys
from pathlib import Path
from broker.embedded import EmbeddedServer
async def own():
    async with EmbeddedServer(Path(sys.argv[1]), leash=sys.argv[2]) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(own())
"""
LEASHES = ["linux", "pipe"] if sys.platform == "linux" else ["pipe"]


@pytest.fixture
def data_dir():
    """Short enough for the socket to lie beside the data."""
    with tempfile.TemporaryDirectory(prefix="rv") as folder:
        yield Path(folder).resolve()


def connected(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2)


def start_process(*words: str, **environment: str) -> subprocess.Popen:
    plain = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=plain | environment,
    )


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def eventually(holds, limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.01)


def test_it_listens_on_a_private_socket_only_and_keeps_everything(data_dir):
    async def run() -> None:
        async with EmbeddedServer(data_dir) as server:
            assert parse(server.url).path == str(data_dir / "redis.sock")
            assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
            with connected(server.url) as client:
                config = client.config_get("*")
            assert config["port"] == "0"
            assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
            assert (config["maxmemory-policy"], config["save"]) == ("noeviction", "")

    asyncio.run(run())


@pytest.mark.parametrize("leash", LEASHES)
def test_data_survive_a_stop_and_a_start(data_dir, leash):
    async def run() -> None:
        async with EmbeddedServer(data_dir, leash=leash) as server:
            with connected(server.url) as client:
                client.set("kept", "yes")
        assert not server.socket.exists() and not server_lock(data_dir).held()
        async with EmbeddedServer(data_dir, leash=leash) as server:
            with connected(server.url) as client:
                assert client.get("kept") == b"yes"

    asyncio.run(run())


@pytest.mark.parametrize("leash", LEASHES)
def test_a_server_that_dies_comes_back_on_the_same_socket_with_its_data(data_dir, leash, caplog):
    def back_with(client: redis.Redis) -> bool:
        try:
            return client.get("kept") == b"yes"
        except redis.RedisError:
            return False

    async def run() -> None:
        async with EmbeddedServer(data_dir, leash=leash, backoff_s=0.01) as server:
            with connected(server.url) as client:
                client.set("kept", "yes")
                for _ in range(2):
                    died = server.pid
                    os.kill(died, signal.SIGKILL)
                    await eventually(lambda: server.pid != died)  # noqa: B023
                    await eventually(lambda: back_with(client))
            assert json.loads((data_dir / "server.json").read_text())["pid"] == server.pid

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "starting it again" in caplog.text


@pytest.mark.parametrize("leash", LEASHES)
def test_killing_the_owner_ends_the_server_and_the_next_owner_has_the_data(data_dir, leash):
    with start_process("-c", OWNER, str(data_dir), leash) as owner:
        server_pid = int(owner.stdout.readline())
        with connected(attach(data_dir)) as client:
            client.set("kept", "yes")
        owner.kill()
    until(lambda: not server_lock(data_dir).held(), f"server {server_pid} to end")

    with pytest.raises(EmbeddedError, match="broker up"):
        attach(data_dir)

    async def run() -> None:
        async with EmbeddedServer(data_dir, leash=leash) as server:
            with connected(server.url) as client:
                assert client.get("kept") == b"yes"

    asyncio.run(run())


def test_a_second_owner_is_refused_and_told_whose_it_is(data_dir):
    async def run() -> None:
        async with EmbeddedServer(data_dir) as server:
            with pytest.raises(EmbeddedError, match=f"process {os.getpid()}"):
                await EmbeddedServer(data_dir).start()
            with connected(server.url) as client:
                assert client.ping()

    asyncio.run(run())


def test_a_new_owner_waits_for_the_server_of_a_dead_one(data_dir):
    async def run() -> None:
        still_running = server_lock(data_dir)
        assert still_running.take()
        async with asyncio.TaskGroup() as group:
            server = EmbeddedServer(data_dir)
            starting = group.create_task(server.start())
            await eventually(owner_lock(data_dir).held)
            assert not starting.done() and not server.pid
            still_running.let_go()
        with connected(server.url) as client:
            assert client.ping()
        await server.stop()

    asyncio.run(run())


def test_a_server_of_a_dead_owner_that_does_not_end_is_an_error(data_dir):
    stuck = server_lock(data_dir)
    assert stuck.take()
    try:
        with pytest.raises(EmbeddedError, match="still running"):
            asyncio.run(EmbeddedServer(data_dir, takeover_limit_s=0.05).start())
        assert not owner_lock(data_dir).held()
    finally:
        stuck.let_go()


@pytest.mark.parametrize("leash", LEASHES)
def test_a_server_that_hangs_is_killed_at_the_end(data_dir, leash, caplog):
    async def run() -> None:
        async with EmbeddedServer(data_dir, leash=leash, stop_limit_s=0.2) as server:
            os.kill(server.pid, signal.SIGSTOP)
        await eventually(lambda: not server_lock(data_dir).held())

    asyncio.run(run())
    assert "killed" in caplog.text


def test_others_attach_to_it_and_know_when_it_is_gone(data_dir):
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        attach(data_dir / "never")

    async def run() -> None:
        async with EmbeddedServer(data_dir) as server:
            assert attach(data_dir) == server.url
        with pytest.raises(EmbeddedError, match="broker up"):
            attach(data_dir)

    asyncio.run(run())


def test_attaching_waits_for_an_owner_that_is_just_starting(data_dir):
    lock = owner_lock(data_dir)
    assert lock.take()
    asked_again = []

    def the_owner_gets_ready(_: float) -> None:
        asked_again.append(True)
        announce(data_dir, socket=Path("/run/a b.sock"), pid=1, version="Valkey 9")

    try:
        assert attach(data_dir, wait_s=5, sleep=the_owner_gets_ready) == "unix:///run/a%20b.sock"
        assert asked_again
    finally:
        lock.let_go()


def test_looking_whether_there_is_an_owner_does_not_keep_one_from_starting(data_dir):
    over = threading.Event()

    def look_all_the_time() -> None:
        while not over.is_set():
            owner_lock(data_dir).held()

    looking = threading.Thread(target=look_all_the_time)
    looking.start()
    try:
        asyncio.run(_started_and_stopped(EmbeddedServer(data_dir)))
    finally:
        over.set()
        looking.join()


async def _started_and_stopped(server: EmbeddedServer) -> None:
    async with server:
        pass


def test_a_server_that_cannot_start_is_reported_with_its_last_words(data_dir):
    broken = program(data_dir, "broken", "echo 'Fatal: bad luck' >&2; exit 1")
    with pytest.raises(EmbeddedError, match="bad luck"):
        asyncio.run(EmbeddedServer(data_dir, binary=broken).start())
    assert not owner_lock(data_dir).held()


def test_a_server_that_does_not_answer_in_time_is_ended(data_dir):
    mute = program(data_dir, "mute", "exec sleep 600")
    with pytest.raises(EmbeddedError, match=r"within 0\.05 s"):
        asyncio.run(EmbeddedServer(data_dir, binary=mute, ready_limit_s=0.05).start())
    assert not server_lock(data_dir).held()


def test_a_deep_data_directory_gets_a_short_private_socket(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)

    async def run() -> None:
        async with EmbeddedServer(deep) as server:
            assert len(str(server.socket)) < 100
            assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
            assert attach(deep) == server.url
        assert not server.socket.parent.exists()

    asyncio.run(run())


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    deep = tmp_path / ("d" * 100)
    folder = socket_path(deep).parent
    try:
        folder.chmod(0o755)
        with pytest.raises(EmbeddedError, match="not private"):
            socket_path(deep)
    finally:
        folder.rmdir()


def test_the_data_directory_is_the_asked_one_or_the_systems(monkeypatch):
    monkeypatch.setenv("REVEILLE_DATA_DIR", "/srv/reveille")
    assert default_data_dir() == Path("/srv/reveille")
    monkeypatch.delenv("REVEILLE_DATA_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/reveille")
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert default_data_dir() == Path.home() / ".local/share/reveille"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_data_dir() == Path.home() / "Library/Application Support/reveille"


def test_a_data_directory_that_cannot_be_made_is_an_error_that_says_so(data_dir):
    (data_dir / "file").write_text("")
    with pytest.raises(EmbeddedError, match="REVEILLE_DATA_DIR"):
        asyncio.run(EmbeddedServer(data_dir / "file" / "below").start())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_foreground_command_owns_it_until_told_to_stop(data_dir, number):
    with start_process("-m", "broker.embedded", "--data-dir", str(data_dir)) as command:
        assert str(data_dir / "redis.sock") in command.stdout.readline()
        with connected(attach(data_dir)) as client:
            assert client.ping()
        refused = start_process("-m", "broker.embedded", "--data-dir", str(data_dir))
        _, said = refused.communicate(timeout=20)
        assert refused.returncode == 1 and f"process {command.pid}" in said
        assert "Traceback" not in said
        command.send_signal(number)
        assert command.wait(20) == 0
    assert not server_lock(data_dir).held()


def test_the_foreground_command_idles_when_redis_is_elsewhere(data_dir):
    words = ("-m", "broker.embedded", "--data-dir", str(data_dir))
    with start_process(*words, REDIS_URL="redis://elsewhere") as command:
        assert "REDIS_URL" in command.stdout.readline()
        command.terminate()
        assert command.wait(20) == 0
    assert list(data_dir.iterdir()) == []
