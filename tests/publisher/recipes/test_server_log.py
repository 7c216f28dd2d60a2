"""What a server prints: where it goes, how much of it is kept, and what happens when it cannot be kept."""

import logging
import os
import resource
import sys
import threading
from pathlib import Path

import pytest

from publisher.recipes.log_file import LogFile, log_path
from publisher.recipes.server_process import ServerProcess
from tests.publisher.recipes.programs import SLEEP, said, server
from tests.support.waiting import eventually

FLOOD = "import os\nblock = b'x' * 99 + b'\\n'\nfor _ in range(100): os.write(1, block * 10_000)\n"


def ends_in(file: Path, text: bytes) -> bool:
    try:
        with open(file, "rb") as opened:
            opened.seek(-len(text), os.SEEK_END)
            return opened.read() == text
    except OSError:  # it is just being moved
        return False


def test_a_flood_is_kept_within_two_files_and_little_memory(play, tmp_path):
    async def test():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step = server(FLOOD + "os.write(1, b'done\\n')\n" + SLEEP)
        process = ServerProcess(step, "qwen", tmp_path / "server.log")
        await process.start()
        await eventually(lambda: ends_in(tmp_path / "server.log", b"\ndone\n"), 20)
        await process.stop()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
        assert sorted(file.name for file in tmp_path.iterdir()) == ["server.log", "server.log.1"]
        assert (tmp_path / "server.log").stat().st_size <= 10_000_000
        assert 9_000_000 < (tmp_path / "server.log.1").stat().st_size <= 10_000_000

    play(test())


def test_output_without_line_ends_arrives_as_it_comes(play, tmp_path):
    async def test():
        step = server(f"import os; os.write(1, b'loading ...'); {SLEEP}")
        process = ServerProcess(step, "qwen", tmp_path / "server.log")
        await process.start()
        await eventually(lambda: (tmp_path / "server.log").read_text().endswith("====\nloading ..."))
        await process.stop()

    play(test())


def test_a_new_start_appends(tmp_path, play):
    async def test():
        (tmp_path / "server.log").write_text("of yesterday\n")
        process = ServerProcess(server("print('today')"), "qwen", tmp_path / "server.log", restart_first_s=60)
        await process.start()
        await eventually(lambda: process.died)
        await process.stop()
        assert (tmp_path / "server.log").read_text().startswith("of yesterday\n====")

    play(test())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_only_stops_the_writing(play, caplog):
    async def test():
        process = ServerProcess(server(FLOOD + SLEEP), "qwen", Path("/dev/full"))
        await process.start()
        await eventually(lambda: said(caplog))
        assert process.running and process.died is None
        await process.stop()

    play(test())
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("/dev/full cannot be written (No space left on device)")


def test_a_server_whose_log_cannot_be_written_still_tells_its_last_lines(play, tmp_path, caplog):
    (tmp_path / "file").write_text("")

    async def test():
        # No folder can be made below a file, not even by root.
        step = server("print('no model'); raise SystemExit(1)")
        process = ServerProcess(step, "qwen", tmp_path / "file" / "server.log", restart_first_s=60)
        await process.start()
        assert (await eventually(lambda: process.died)).endswith("exit code 1: no model")
        await process.stop()

    play(test())
    assert "server.log cannot be written" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_only_stops_the_writing(tmp_path, caplog):
    tmp_path.chmod(0o500)
    LogFile(tmp_path / "server.log").write(b"x")
    assert "Permission denied" in caplog.text


def test_one_warning_is_enough(tmp_path, caplog):
    file = LogFile(tmp_path)  # a folder
    for _ in range(5):
        file.write(b"x")
    assert len(said(caplog)) == 1


def test_what_could_not_be_written_is_tried_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr("publisher.recipes.log_file.AGAIN_S", 0.0)
    file = LogFile(tmp_path / "logs" / "server.log")
    (tmp_path / "logs").write_text("in the way")
    file.write(b"lost\n")
    (tmp_path / "logs").unlink()
    file.write(b"kept\n")
    file.close()
    assert (tmp_path / "logs" / "server.log").read_text() == "kept\n"


def test_rotation_keeps_one_older_file(tmp_path):
    file = LogFile(tmp_path / "server.log", most_bytes=10)
    for block in (b"1111\n", b"2222\n", b"3333\n", b"4444\n", b"5555\n"):
        file.write(block)
    file.close()
    assert (tmp_path / "server.log").read_text() == "5555\n"
    assert (tmp_path / "server.log.1").read_text() == "3333\n4444\n"


def test_a_file_that_cannot_be_moved_aside_is_emptied_instead(tmp_path):
    (tmp_path / "server.log.1").mkdir()
    file = LogFile(tmp_path / "server.log", most_bytes=10)
    for block in (b"1111\n", b"2222\n", b"3333\n"):
        file.write(block)
    file.close()
    assert (tmp_path / "server.log").read_text() == "3333\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such files")
def test_devices_links_and_fifos_are_never_moved_and_never_block(tmp_path):
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    file = LogFile(tmp_path / "link", most_bytes=10)
    for _ in range(5):
        file.write(b"1234567\n")
    file.close()
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "link.1").exists()
    assert (tmp_path / "real").stat().st_size == 40
    os.mkfifo(tmp_path / "fifo")
    LogFile(tmp_path / "fifo").write(b"x")
    assert not (tmp_path / "fifo.1").exists()


def test_two_threads_may_write(tmp_path):
    file = LogFile(tmp_path / "server.log")

    def write():
        for _ in range(200):
            file.write(b"0123456789\n")
            file.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set((tmp_path / "server.log").read_text().splitlines()) == {"0123456789"}
    assert (tmp_path / "server.log").stat().st_size == 4 * 200 * 11


def test_each_name_has_a_log_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    names = ["qwen3", "Qwen3", "qwen/3", "qwen:3", "qwen 3", "..", "../../etc/passwd", "con", "ä", "ö", "x" * 128,
             "x" * 127 + "y", "a\0b", "\udcff", ""]
    paths = [log_path(name) for name in names]
    assert len({str(path).lower() for path in paths}) == len(names)
    assert {path.parent for path in paths} == {tmp_path / "reveille" / "logs"}
    assert all(path.name.isascii() and len(path.name) < 100 and not path.name.startswith(".") for path in paths)
    assert paths[0].name.startswith("qwen3-") and paths[0].suffix == ".log"
    assert log_path("qwen3") == paths[0]
