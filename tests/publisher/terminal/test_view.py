"""The live view in a real terminal: drawn, resized, left alone, and gone without a trace."""

import asyncio

import pytest

pytest.importorskip("termios")

from tests.publisher.terminal.window import window  # noqa: E402
from tests.support.waiting import eventually  # noqa: E402

TITLE = "Reveille 1.0"


def log_of(w):
    """The screen's lines without their clock."""
    return [line[9:] if line[2:3] == ":" else line for line in w.screen.lines]


def titles(w):
    return sum(TITLE in line for line in w.screen.lines)


async def drawn_to(w, last):
    """Until the picture is whole: its last line is there, with the cursor at its end."""
    await eventually(lambda: w.screen.rows[w.screen.row].rstrip() == last, 10)


async def test_at_the_end_only_the_log_is_left_and_the_cursor_is_back():
    async with window() as w:
        await w.shows("model-1")
        assert w.screen.cursor_hidden and w.screen.coloured
        w.tell("stop")
        assert await w.ended() == 0
        assert log_of(w) == ["before the view", "stopping", "stopped"]
        assert not w.screen.cursor_hidden and w.screen.column == 0


async def test_lines_of_the_log_scroll_by_above_the_view():
    async with window() as w:
        await w.shows("model-1")
        w.tell("log [red]one[/]")
        await w.shows("warning: [red]one[/]")
        w.tell("log two")
        await w.shows("warning: two")
        await w.shows("model-1")
        lines = log_of(w)
        assert lines[:3] == ["before the view", "warning: [red]one[/]", "warning: two"] and titles(w) == 1


async def test_a_request_that_ended_well_is_in_the_view_and_not_in_the_log():
    async with window() as w:
        w.tell("news model-0")
        await w.shows("3 tok")
        w.tell("stop")
        await w.ended()
        assert log_of(w) == ["before the view", "stopping", "stopped"]


@pytest.mark.parametrize("loop", ["", "uvloop"])
async def test_a_narrower_window_leaves_no_pieces_of_the_older_picture(loop):
    if loop:
        pytest.importorskip(loop)
    async with window(100, 40, UVLOOP=loop) as w:
        w.tell("rows 9")
        await drawn_to(w, "● model-8  active  0/4 ────")
        for width, last in ((60, "● model-8  active  0/4"), (30, "● model-8  active  0/4"), (12, "● model-8")):
            w.resize(width, 40)
            await eventually(lambda: titles(w) == (width > 12), 10)
            w.tell(f"log at {width}")
            await w.shows(f"at {width}")
            await drawn_to(w, last)
        w.tell("stop")
        await w.ended()
        left = "".join(w.screen.lines)
        assert "Reveille" not in left and "model" not in left and "active" not in left


async def test_a_window_lower_than_the_picture_gets_a_shorter_one():
    async with window(80, 30) as w:
        w.tell("rows 40")
        await w.shows("+19 more")
        w.resize(80, 8)
        await w.shows("+37 more")
        w.tell("stop")
        assert await w.ended() == 0


async def test_nothing_is_written_while_nothing_changes():
    async with window() as w:
        await w.shows("model-1")
        w.tell("log last")
        await w.shows("last")
        seen, began_s = len(w.output), await w.cpu_s()
        for _ in range(3):  # more than three times as long as between two looks
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2):
                    await asyncio.Event().wait()
        assert len(w.output) == seen
        assert await w.cpu_s() - began_s < 0.1


async def test_a_flood_is_cut_to_its_newest_lines_and_says_so():
    async with window() as w:
        await w.shows("model-1")
        w.tell("flood 2000")
        await w.shows("line 1999")
        await w.shows("1500 lines of the log are left out here")
        assert "line 1500" in w.output and "line 1499" not in w.output


async def test_a_view_that_breaks_gives_the_terminal_back_and_the_log_goes_on():
    async with window() as w:
        await w.shows("model-1")
        w.tell("crash")
        await w.shows("the live view broke; the log goes on")
        await w.shows("crashing")
        assert not w.screen.cursor_hidden
        w.tell("log still here")
        await w.shows("warning: still here")
        assert w.process.poll() is None and titles(w) == 0


async def test_a_program_that_breaks_leaves_the_terminal_as_it_was():
    async with window() as w:
        await w.shows("model-1")
        w.tell("boom")
        assert await w.ended() == 1
        await w.shows("RuntimeError: boom")
        assert not w.screen.cursor_hidden and titles(w) == 0


async def test_ctrl_c_is_the_program_s_own_the_second_one_too():
    async with window() as w:
        await w.shows("model-1")
        w.type(b"\x03")
        await w.shows("first interrupt")
        assert w.screen.cursor_hidden and titles(w) == 1
        w.type(b"\x03")
        assert await w.ended() == 0
        assert not w.screen.cursor_hidden and titles(w) == 0


async def test_a_terminal_that_is_stopped_holds_up_nothing():
    async with window() as w:
        await w.shows("model-1")
        w.type(b"\x13")  # Ctrl-S
        for n in range(200):
            w.tell(f"log {n} {'x' * 200}")
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.5  # by then it has tried to draw
        while loop.time() < until:
            await w.cpu_s()
        w.type(b"\x11")  # Ctrl-Q
        await w.shows("199 xxx")
        w.tell("stop")
        assert await w.ended() == 0 and not w.screen.cursor_hidden


async def test_a_terminal_that_is_gone_ends_the_view_alone():
    async with window(NOHUP="1") as w:
        await w.shows("model-1")
        w.hang_up()
        w.tell("log nobody reads this")
        await w.cpu_s()
        w.tell("rows 5")
        await w.cpu_s()
        assert w.process.poll() is None
        w.tell("stop")
        assert await asyncio.to_thread(w.process.wait, 10) == 0


async def test_no_color_is_respected():
    async with window(NO_COLOR="1") as w:
        w.tell("log careful")
        await w.shows("warning: careful")
        await w.shows("model-1")
        assert not w.screen.coloured


async def test_a_terminal_without_unicode_gets_ascii_alone():
    async with window(PYTHONIOENCODING="ascii", PYTHONUTF8="0") as w:
        w.tell("log café")
        await w.shows("caf\\xe9")
        await w.shows("* model-1")
        assert w.output.isascii()


async def test_thousands_of_requests_redraw_at_most_four_times_a_second():
    async with window() as w:
        await w.shows("model-1")
        seen = w.output.count(TITLE)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(3000):
            w.tell(f"begin r{n}")
        await w.shows("RUNNING 3000")
        assert w.output.count(TITLE) - seen <= (loop.time() - began) / 0.25 + 2
