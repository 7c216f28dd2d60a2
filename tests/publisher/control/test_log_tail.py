"""The end of a growing file: through rotation, cuts, floods and lines without an end."""

import io
import os

import pytest

from publisher.control.log_tail import BLOCK, follow, last_lines, without_moves


@pytest.mark.parametrize(
    "content, lines, last",
    [
        (b"", 3, b""),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 9, b"a\nb\n"),
        (b"a\n\n\n", 2, b"\n\n"),
        (b"10%\r20%\r\nb\x0bc\xc2\x85d\n", 2, b"10%\r20%\r\nb\x0bc\xc2\x85d\n"),
        (b"x" * (3 * BLOCK) + b"\nlast\n", 1, b"last\n"),
        (b"x" * (3 * BLOCK) + b"\nlast\n", 2, b"x" * (3 * BLOCK) + b"\nlast\n"),
        (b"a\n" * (2 * BLOCK), BLOCK, b"a\n" * BLOCK),
        (b"a\nb\n", 0, b""),
    ],
)
def test_the_last_lines_are_whole(content, lines, last):
    file = io.BytesIO(content)
    assert last_lines(file, lines) == last
    assert file.tell() == len(content)


def test_a_file_without_line_breaks_is_read_within_bounds(tmp_path):
    with open(tmp_path / "log", "w+b") as file:
        file.truncate(1 << 30)
        assert len(last_lines(file, 1)) <= 9 << 20


class Script:
    """What happens to the file, one step for each time that there is nothing new."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self):
        self.steps.pop(0)()


def followed(path, *steps, until: bytes, lines: int = 10) -> bytes:
    got = b""
    for block in follow(path, lines, Script(*steps)):
        got += block
        if got.endswith(until):
            return got


def append(path, text: bytes):
    def step():
        with open(path, "ab") as file:
            file.write(text)

    return step


def test_what_is_added_comes(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a\n")
    assert followed(log, append(log, b"b"), append(log, b"c\n"), until=b"c\n") == b"a\nbc\n"


def test_a_file_that_is_moved_away_is_read_to_its_end_first(tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"a\n")
    steps = [lambda: os.rename(log, old), append(old, b"late\n"), append(log, b"new\n")]
    assert followed(log, *steps, until=b"new\n") == b"a\nlate\nnew\n"


def test_what_is_written_between_the_last_read_and_the_move_is_not_lost(tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"a\n")

    class Rotated:
        """A path whose file moves in the moment in which it is looked at."""

        looks = 0

        def __fspath__(self):
            self.looks += 1
            if self.looks == 2:  # the first opened it
                append(log, b"late\n" * BLOCK)()
                os.rename(log, old)
                append(log, b"new\n")()
            return str(log)

    assert followed(Rotated(), until=b"new\n") == b"a\n" + b"late\n" * BLOCK + b"new\n"


def test_a_file_that_is_cut_is_read_from_its_beginning(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a long first line\n")
    steps = [lambda: log.write_bytes(b"new\n"), lambda: None]
    assert followed(log, *steps, until=b"new\n") == b"a long first line\nnew\n"


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        followed(tmp_path / "no", until=b"x")


def test_on_a_terminal_colours_and_progress_bars_are_only_their_text():
    assert without_moves("\x1b[1;32mok\x1b[0m\r\n") == "ok"
    assert without_moves("10%\r20%\r100%\n") == "100%"
    assert without_moves("a\tb\x1b]0;title\x07\n") == "a       b"
