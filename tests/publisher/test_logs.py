"""Log lines: one per event, for people or for machines."""

import json
import logging

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
