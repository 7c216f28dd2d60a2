"""The log while the view runs: kept for it, bounded, and straight to stderr before and after."""

import asyncio
import logging
import threading

import pytest

from publisher.terminal.log_lines import LINES_KEPT, LogLines
from tests.support.waiting import eventually


@pytest.fixture
def log():
    logger = logging.Logger("lines")
    return logger


def plain(lines):
    return [line.plain[9:] if line.plain[2] == ":" else line.plain for line in lines]


async def test_lines_wait_while_they_are_held_and_are_taken_once(log, capsys):
    news = asyncio.Event()
    handler = LogLines(False, news.set)
    log.addHandler(handler)
    log.info("before")
    handler.held(asyncio.get_running_loop())
    log.warning("[red]held[/]")
    log.error("worse")
    await news.wait()
    taken = handler.taken()
    assert plain(taken) == ["warning: [red]held[/]", "error: worse"] and [str(line.style) for line in taken] == ["yellow", "red"]
    assert handler.taken() == []
    log.info("left")
    handler.released()
    log.info("after")
    assert [line[9:] for line in capsys.readouterr().err.splitlines()] == ["before", "left", "after"]


async def test_only_the_newest_of_a_flood_are_kept_and_the_missing_are_counted(log):
    handler = LogLines(False, lambda: None)
    log.addHandler(handler)
    handler.held(asyncio.get_running_loop())
    for n in range(LINES_KEPT + 7):
        log.info("%d", n)
    taken = plain(handler.taken())
    assert taken[0] == "7 lines of the log are left out here" and taken[1] == "7" and len(taken) == LINES_KEPT + 1
    log.info("next")
    assert plain(handler.taken()) == ["next"]
    handler.released()


async def test_a_request_that_ended_well_is_left_to_the_view_and_a_failed_one_is_not(log):
    handler = LogLines(False, lambda: None)
    log.addHandler(handler)
    handler.held(asyncio.get_running_loop())
    log.info("fine", extra={"request": {}})
    log.warning("broke", extra={"request": {}})
    assert plain(handler.taken()) == ["warning: broke"]
    handler.released()


async def test_another_thread_wakes_the_view_too(log):
    news = asyncio.Event()
    handler = LogLines(False, news.set)
    log.addHandler(handler)
    handler.held(asyncio.get_running_loop())
    thread = threading.Thread(target=log.info, args=("from a thread",))
    thread.start()
    await eventually(news.is_set)
    thread.join()
    assert plain(handler.taken()) == ["from a thread"]
    handler.released()


async def test_what_the_terminal_cannot_say_is_escaped(log):
    handler = LogLines(True, lambda: None)
    log.addHandler(handler)
    handler.held(asyncio.get_running_loop())
    log.info("é \x1b[2J")
    assert plain(handler.taken()) == ["\\xe9 \\x1b[2J"]
    handler.released()
