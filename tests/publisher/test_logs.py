"""Log lines: one per event, for people or for machines."""

import json
import logging
import subprocess
import sys

import pytest

from publisher.logs import set_up_logging


@pytest.fixture
def log():
    logger = logging.getLogger("publisher")
    before = logger.handlers, logger.propagate, logger.level
    yield logger
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def say(log):
    log.info("fine")
    log.warning("two\nlines")
    try:
        raise ValueError("bug")
    except ValueError as err:
        log.error("unexpected %r", err, exc_info=err)


def test_people_read_one_line_per_event_without_colours_in_a_file(log, capsys):
    set_up_logging(as_json=False, quiet=False)
    say(log)
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines[:2]] == ["fine", "warning: two lines"]
    assert "unexpected ValueError('bug') at test_logs.py:" in lines[2] and len(lines) == 3


def test_machines_read_one_object_per_line_with_the_traceback(log, capsys):
    set_up_logging(as_json=True, quiet=False)
    say(log)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines[:2]] == [("info", "fine"), ("warning", "two\nlines")]
    assert "ValueError: bug" in lines[2]["traceback"] and lines[0]["ts"].endswith("Z")


def test_quiet_keeps_warnings_and_errors(log, capsys):
    set_up_logging(as_json=False, quiet=True)
    say(log)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_nothing_in_a_text_can_act_on_the_terminal(log, capsys):
    set_up_logging(as_json=False, quiet=False)
    log.warning("%s", "a\x1b[2Jb\rc\x9b1A\u202e\ud800\r\nd")
    line = capsys.readouterr().err
    assert line[9:] == "warning: a\\x1b[2Jb\\x0dc\\x9b1A\\u202e\\ud800 d\n"


def test_lines_can_go_to_a_handler_with_a_form_of_its_own(log, capsys):
    kept = []

    class Kept(logging.Handler):
        def emit(self, record):
            kept.append(record.getMessage())

    set_up_logging(as_json=False, quiet=True, handler=Kept())
    say(log)
    assert kept == ["two\nlines", "unexpected ValueError('bug')"] and capsys.readouterr().err == ""


def test_a_start_without_the_view_does_not_load_rich():
    code = "import sys, publisher.logs, publisher.activity, publisher.terminal.request_lines; print('rich' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert told.stdout.strip() == "False", told.stderr
