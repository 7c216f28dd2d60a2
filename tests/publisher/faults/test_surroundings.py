"""The publisher as a process in a bad place: full disks, no home, a config that goes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.publisher.faults.process import publisher
from tests.publisher.running import play
from tests.support.backend import Backend
from tests.support.waiting import eventually

if sys.platform == "win32":
    pytest.skip("limits, users and signals as POSIX has them", allow_module_level=True)

import resource  # noqa: E402


# ── disks ───────────────────────────────────────────────────────────────────


def no_file_may_grow() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_costs_the_session_s_stickiness_and_is_said_so(tmp_path):
    async def test():
        file = tmp_path / "state" / "session.json"
        flags = ("--backend", "BACKEND", "--model", "real", "--name", "m", "--session-file", str(file))
        async with publisher(tmp_path, *flags, preexec_fn=no_file_may_grow) as run:
            await run.serves()
            await eventually(lambda: run.said("the next start will be a new session") == 1)
            assert list(file.parent.iterdir()) == [], "nothing half written is left"

    play(test())


def test_a_full_disk_leaves_the_session_that_was_there(tmp_path):
    async def test():
        file = tmp_path / "session.json"
        file.write_text('{"providerSessionId": "mine"}')
        flags = ("--backend", "BACKEND", "--model", "real", "--name", "m", "--session-file", str(file))
        async with publisher(tmp_path, *flags, preexec_fn=no_file_may_grow) as run:
            await run.serves()
            assert run.broker.registrations[0]["providerSessionId"] == "mine"
        assert json.loads(file.read_text()) == {"providerSessionId": "mine"}

    play(test())


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe", b"[" * 100_000, b'{"providerSessionId": 7}', b'{"providerSessionId": "a\\nb"}'],
                         ids=["empty", "zeros", "no text", "deep", "number", "newline"])
def test_a_session_file_that_is_spoiled_is_a_new_session(tmp_path, content):
    async def test():
        file = tmp_path / "session.json"
        file.write_bytes(content)
        flags = ("--backend", "BACKEND", "--model", "real", "--name", "m", "--session-file", str(file))
        async with publisher(tmp_path, *flags) as run:
            await run.serves()
            assert not run.broker.registrations[0].get("providerSessionId")
            await eventually(lambda: run.said("is unusable") == 1)
        assert json.loads(file.read_text())["providerSessionId"]

    play(test())


# ── homes ───────────────────────────────────────────────────────────────────


def test_a_home_that_cannot_be_written_is_said_so_and_is_no_obstacle(tmp_path):
    async def test():
        (tmp_path / "file").write_text("in the way")
        async with publisher(tmp_path, env={"HOME": str(tmp_path / "file")}) as run:
            await run.serves()
            await eventually(lambda: run.said("cannot be written") == 1)

    play(test())


def test_without_any_xdg_folder_the_usual_ones_below_home_serve(tmp_path):
    async def test():
        async with publisher(tmp_path) as run:
            await run.serves()
            assert list((tmp_path / "home" / ".local" / "state" / "reveille").glob("session-*.json"))

    play(test())


@pytest.mark.parametrize("runtime", ["/no/such/folder", "relative", ""])
def test_a_run_time_folder_that_is_none_is_no_obstacle(tmp_path, runtime):
    async def test():
        async with publisher(tmp_path, env={"XDG_RUNTIME_DIR": runtime}) as run:
            await run.serves()

    play(test())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom nobody knows")
def test_a_user_whom_the_system_does_not_know_has_no_home_and_can_publish(tmp_path):
    async def test():
        os.chmod(tmp_path, 0o777)
        for folder in tmp_path.parents[:2]:
            os.chmod(folder, 0o755)
        async with publisher(tmp_path, without=("HOME",), user=54321, group=54321) as run:
            await run.serves()

    play(test())


# ── the config ──────────────────────────────────────────────────────────────


def config_of(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "publisher.json"
    beside = tmp_path / "new.json"
    beside.write_text(json.dumps({"providers": [{"name": name, "publish": True, "url": "${BACKEND_URL}", "model": "real"} for name in names]}))
    os.replace(beside, path)
    return path


def as_file(path: Path) -> None:
    path.unlink()


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def as_spoiled(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{\0")


@pytest.mark.parametrize("spoil", [as_file, as_folder, as_loop, as_spoiled], ids=["gone", "folder", "loop", "no text"])
def test_a_config_that_vanishes_changes_nothing_until_it_is_back(tmp_path, spoil):
    async def test():
        async with Backend() as backend:
            path = config_of(tmp_path, "m")
            async with publisher(tmp_path, "--config", str(path), env={"BACKEND_URL": backend.url}) as run:
                await run.serves()
                spoil(path)
                if spoil is not as_file:  # which is seen without a word from us
                    run.process.send_signal(signal.SIGHUP)
                await eventually(lambda: run.said("the one before stays in force"))
                await run.serves()
                if path.is_dir():
                    path.rmdir()
                config_of(tmp_path, "m", "n")
                run.process.send_signal(signal.SIGHUP)
                await run.broker.until(lambda: len(run.broker.registrations[-1]["providers"]) == 2)

    play(test())


def test_a_hangup_without_a_config_file_is_survived(tmp_path):
    async def test():
        async with publisher(tmp_path) as run:
            await run.serves()
            for count in (1, 2):
                run.process.send_signal(signal.SIGHUP)
                await eventually(lambda: run.said("config read again") == count)
            await run.serves()
            assert run.broker.channels == 1 and len(run.broker.registrations) == 1

    play(test())
