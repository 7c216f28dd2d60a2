"""The control socket: who finds it, who may use it, and what nobody can do to it."""

import asyncio
import json
import logging
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from publisher.control.client import NotFound, running
from publisher.control.place import Place
from publisher.control.refused import Refused
from publisher.control.server import LONGEST_LINE, MOST_AT_ONCE, Control
from tests.publisher.control.serving import Fake, row, serving
from tests.support.processes import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders and modes of POSIX")


async def asked(do, find=running, **more):
    return await asyncio.to_thread(lambda: find().ask(do, **more))


async def status(*which, **by):
    """Of the publisher that a verb would find; on a thread, for the other side is on this loop."""
    return await asyncio.to_thread(lambda: running(*which, **by).status())


async def said(path, line: bytes) -> bytes:
    """One raw line, and all that comes back until the other side hangs up or a line is whole."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_it_answers_one_json_line_for_each_question(home):
    async with serving(Fake(rows=[row("qwen")])) as place:
        reader, writer = await asyncio.open_unix_connection(str(place.paths[0]))
        writer.write(b'{"do":"status"}\n{"do":"wake","name":"qwen"}\n')
        first, second = json.loads(await reader.readline()), json.loads(await reader.readline())
        writer.close()
    assert first["ok"]["rows"][0]["name"] == "qwen" and first["ok"]["upS"] == 7500
    assert second == {"ok": 12300}


async def test_only_its_user_can_reach_it(home):
    async with serving(Fake()) as place:
        path = place.paths[0]
        assert path.parent == home / "run" / "reveille"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_folder_that_others_may_enter_is_not_used(home):
    (home / "run" / "reveille").mkdir(mode=0o755)
    async with serving(Fake()) as place:
        assert not place.paths[0].exists() and place.paths[1].exists()
        assert place.paths[1].parent == home / "state" / "reveille" / "control"
        assert (await status()).pid == 4711


async def test_a_socket_in_a_folder_that_others_may_enter_is_not_believed(home):
    folder = home / "run" / "reveille"
    async with serving(Fake(config="/c.yaml")):
        folder.chmod(0o777)
        with pytest.raises(NotFound, match="no publisher runs here"):
            await asyncio.to_thread(running)
        with pytest.raises(NotFound, match="no publisher runs from /c.yaml"):
            await asyncio.to_thread(running, Path("/c.yaml"))


async def test_a_link_in_place_of_the_folder_is_not_followed(home):
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "run" / "reveille").symlink_to(home / "elsewhere")
    async with serving(Fake()) as place:
        assert place.paths[1].exists() and not list((home / "elsewhere").iterdir())


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder away")
async def test_a_folder_of_somebody_else_is_not_used(home):
    folder = home / "run" / "reveille"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    async with serving(Fake()) as place:
        assert place.paths[1].exists() and not list(folder.iterdir())


async def test_a_path_too_long_for_a_socket_is_passed_over(home, monkeypatch):
    deep = home / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setenv("XDG_STATE_HOME", str(deep))
    monkeypatch.setattr("tempfile.tempdir", str(home))
    async with serving(Fake()) as place:
        assert place.paths[-1].exists() and place.paths[-1].parent.name == f"reveille-{os.geteuid()}"
        assert (await status()).pid == 4711


async def test_without_a_usable_folder_there_is_a_warning_and_no_socket(home, monkeypatch, caplog):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "file"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(home / "file"))
    await Control(Place.of(None), Fake()).run()
    assert "no control socket" in caplog.text and "Not a directory" in caplog.text


async def test_a_socket_that_a_killed_publisher_left_behind_is_replaced(home):
    place = Place.of(None, "flags")
    place.paths[0].parent.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(place.paths[0]))
    left.close()
    async with serving(Fake()):
        assert await eventually(_pid) == 4711


async def test_a_killed_publishers_lock_holds_nobody_up(home):
    code = (
        "import asyncio\nfrom pathlib import Path\nfrom publisher.control.place import Place\n"
        "from publisher.control.server import Control\nfrom tests.publisher.control.serving import Fake\n"
        "async def main():\n"
        "    fake = Fake(config='/c.yaml', pid=1)\n"
        "    await Control(Place.of(Path('/c.yaml')), fake).run()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={**os.environ, "PYTHONPATH": str(ROOT)})
    path = Place.of(Path("/c.yaml")).paths[0]
    await eventually(lambda: path.exists(), 10)
    process.kill()
    await process.wait()
    assert path.exists()
    async with serving(Fake(config="/c.yaml", pid=2)):
        assert await eventually(_pid) == 2


async def _pid():
    try:
        return (await status()).pid
    except (NotFound, Refused):
        return None


async def test_the_second_publisher_of_a_config_goes_without(home, caplog):
    async with serving(Fake(config="/c.yaml", pid=1)):
        await Control(Place.of(Path("/c.yaml")), Fake(config="/c.yaml", pid=2)).run()
        assert "another publisher runs from the same config" in caplog.text
        assert (await status()).pid == 1


async def test_the_second_is_noticed_also_from_another_environment(home, caplog, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "nowhere"))
    async with serving(Fake(config="/c.yaml")) as place:
        assert place.paths[0].parent == home / "state" / "reveille" / "control"
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        await Control(Place.of(Path("/c.yaml")), Fake(config="/c.yaml")).run()
        assert "another publisher runs" in caplog.text


async def test_a_publisher_is_found_by_its_config_however_its_path_is_written(home, monkeypatch):
    monkeypatch.chdir(home)
    async with serving(Fake(config=str(home / "a.yaml"), pid=1)), serving(Fake(config=str(home / "b.yaml"), pid=2)):
        for written, pid in (("a.yaml", 1), ("run/../b.yaml", 2), (home / "b.yaml", 2)):
            assert (await status(Path(written))).pid == pid
        with pytest.raises(NotFound, match="no publisher runs from c.yaml: start one with publisher run --config c.yaml"):
            running(Path("c.yaml"))


async def test_several_that_run_are_told_apart_by_their_process(home):
    async with serving(Fake(pid=1, config="/a.yaml", rows=[row("x")])), serving(Fake(pid=2), otherwise="flags"):
        with pytest.raises(NotFound) as several:
            await asyncio.to_thread(running)
        assert "--pid 1  --config /a.yaml  x" in str(several.value) and "--pid 2  started by flags" in str(several.value)
        assert (await status(pid=2)).pid == 2
        with pytest.raises(NotFound, match="process id 3"):
            await asyncio.to_thread(lambda: running(pid=3))


async def test_with_none_running_it_says_how_to_start_one(home):
    with pytest.raises(NotFound, match="no publisher runs here: start one with publisher run"):
        running()


@pytest.mark.parametrize(
    "line, error",
    [
        (b"GET / HTTP/1.1\r\n", "not understood"),
        (b"[]\n", "not understood"),
        (b'{"do": 1}\n', "not understood"),
        (b"\xff\xfe\n", "not understood"),
        (b"[" * 60_000 + b"\n", "not understood"),
        (b'{"do": "shutdown"}\n', "does not know 'shutdown'"),
        (b"x" * (LONGEST_LINE + 2), "too long"),
    ],
    ids=["http", "list", "number", "bytes", "deep", "unknown", "long"],
)
async def test_nonsense_is_answered_by_an_error_and_changes_nothing(home, line, error):
    fake = Fake()
    async with serving(fake) as place:
        assert error in json.loads(await said(place.paths[0], line))["error"]
        assert not fake.asked
        assert (await status()).pid == 4711


async def test_a_bug_in_a_command_is_an_error_and_is_logged(home, caplog):
    async with serving(Fake(broken=True)):
        with pytest.raises(Refused, match=r"it broke \(RuntimeError\)"):
            await asked("status")
    assert "status, asked for by hand, broke" in caplog.text


async def test_who_connects_and_says_nothing_is_let_go(home):
    async with serving(Fake(), patience_s=0.05) as place:
        reader, writer = await asyncio.open_unix_connection(str(place.paths[0]))
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_who_does_not_read_the_answer_is_let_go(home):
    big = Fake(rows=[row("x", last_error="e" * (4 << 20))])
    async with serving(big, patience_s=0.05) as place:
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(place.paths[0]))
        silent.sendall(b'{"do":"status"}\n' * 10)
        await eventually(lambda: len(big.asked) >= 1)
        assert (await status()).rows[0].name == "x"
        await eventually(lambda: _tasks("control") == 0)
        silent.close()


def _tasks(name):
    return sum(task.get_name().startswith(name) for task in asyncio.all_tasks())


async def test_one_that_hangs_holds_up_nobody(home):
    fake = Fake(rows=[row("qwen")])
    fake.may_wake.clear()
    async with serving(fake) as place:
        silent = [await asyncio.open_unix_connection(str(place.paths[0])) for _ in range(30)]
        waking = asyncio.create_task(asked("wake", name="qwen", limit_s=None))
        await eventually(lambda: ("wake", "qwen") in fake.asked)
        answers = await asyncio.gather(*(asked("status") for _ in range(20)))
        assert len(answers) == 20
        fake.may_wake.set()
        assert await waking == 12300
        for _, writer in silent:
            writer.close()


async def test_more_than_it_can_serve_are_told_so(home):
    async with serving(Fake()) as place:
        held = [await asyncio.open_unix_connection(str(place.paths[0])) for _ in range(MOST_AT_ONCE)]
        await eventually(lambda: _tasks("control") >= MOST_AT_ONCE)
        assert "too many" in json.loads(await said(place.paths[0], b""))["error"]
        for _, writer in held:
            writer.close()
        await eventually(lambda: _tasks("control") == 0)
        assert (await status()).pid == 4711


async def test_a_publisher_that_does_not_answer_is_said_to(home):
    fake = Fake(rows=[row("qwen")])
    fake.may_wake.clear()
    async with serving(fake):
        with pytest.raises(Refused, match="does not answer"):
            await asked("wake", name="qwen", limit_s=0.1)


async def test_a_publisher_that_ends_meanwhile_is_said_to(home):
    fake = Fake(rows=[row("qwen")])
    fake.may_wake.clear()
    async with serving(fake):
        waking = asyncio.create_task(asked("wake", name="qwen", limit_s=None))
        await eventually(lambda: ("wake", "qwen") in fake.asked)
    with pytest.raises(Refused, match="ended before it answered"):
        await waking


async def test_its_end_leaves_no_task_and_no_socket_behind(home):
    async with serving(Fake()) as place:
        _, writer = await asyncio.open_unix_connection(str(place.paths[0]))
        await eventually(lambda: _tasks("control") == 1)
    assert _tasks("control") == 0 and not place.paths[0].exists()
    writer.close()


async def test_on_a_port_a_question_needs_the_token_of_the_file(home, monkeypatch):
    monkeypatch.setattr("publisher.control.client.everywhere", lambda: place.paths)
    async with serving(Fake(), by_tcp=True) as place:
        path = next(path for path in place.paths if path.exists())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        told = json.loads(path.read_text())
        assert len(told["token"]) >= 32
        assert (await status()).pid == 4711
        for token in ("", "x" * 32, "ü"):
            reader, writer = await asyncio.open_connection("127.0.0.1", told["port"])
            writer.write(json.dumps({"do": "status", "token": token}).encode() + b"\n")
            assert json.loads(await reader.readline()) == {"error": "the token is wrong"}
            writer.close()
    assert not path.exists()


async def test_on_a_port_too_what_was_left_behind_is_replaced_and_a_second_goes_without(home, caplog):
    at = Place.of(None, "flags")
    place = Place(at.name, at.folders, by_tcp=True)
    place.paths[0].parent.mkdir(mode=0o700)
    place.paths[0].write_text("{")
    async with serving(Fake(), by_tcp=True):
        await eventually(lambda: place.paths[0].read_text() != "{")
        await Control(place, Fake()).run()
    assert "another publisher runs" in caplog.text


async def test_followers_get_every_line_in_order(home):
    fake = Fake()
    fake.log.info("one")
    async with serving(fake):
        lines = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def follow():
            for line in running().follow(last=5):
                loop.call_soon_threadsafe(lines.put_nowait, line)

        following = asyncio.create_task(asyncio.to_thread(follow))
        assert "one" in await lines.get()
        for number in range(500):
            fake.log.info("line %d", number)
        got = [await lines.get() for _ in range(500)]
        assert [line.split()[-1] for line in got] == [str(number) for number in range(500)]
    await following


async def test_a_follower_that_does_not_read_loses_lines_and_is_told_how_many(home):
    fake = Fake()
    follower = fake.ring.follow()
    for number in range(1500):
        fake.log.info("line %d", number)
    await eventually(lambda: len(follower._waiting) == 1000)
    assert await anext(follower) == "… 500 lines were lost on the way …"
    assert (await anext(follower)).endswith("line 500")


async def test_the_ring_keeps_the_last_thousand_lines_and_cuts_long_ones():
    fake = Fake()
    for number in range(1005):
        fake.log.log(logging.WARNING, "%d %s", number, "x" * 10_000)
    lines = fake.logs()
    assert len(lines) == 1000 and " 5 x" in lines[0] and max(map(len, lines)) <= 4000


async def test_a_follower_that_is_forgotten_costs_nothing_more(home):
    fake = Fake()
    async with serving(fake):
        reader, writer = await asyncio.open_unix_connection(str(Place.of(None, "flags").paths[0]))
        writer.write(b'{"do":"follow"}\n')
        await eventually(lambda: ("follow", "") in fake.asked)
        writer.close()
        await eventually(lambda: not fake.ring._followers)
        await eventually(lambda: _tasks("control") == 0)


def test_it_works_on_the_loop_that_the_publisher_runs_on(home):
    uvloop = pytest.importorskip("uvloop")
    fake = Fake(rows=[row("qwen")])

    async def served():
        async with asyncio.timeout(20), serving(fake) as place:
            assert (await asked("wake", name="qwen")) == 12300
            await asyncio.gather(*(status() for _ in range(20)))
            reader, writer = await asyncio.open_unix_connection(str(place.paths[0]))
            writer.write(b'{"do":"follow"}\n')
            await eventually(lambda: ("follow", "") in fake.asked)
            fake.log.info("seen")
            assert b"seen" in await reader.readline()
            writer.close()
        assert not place.paths[0].exists() and _tasks("control") == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(served())
