"""Whatever goes wrong in these tests, the log stays readable: one line each, no traceback, no secret."""

from __future__ import annotations

import logging

import pytest

from publisher.logs import Human


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(Human(colours=False))
        self.said: list[str] = []
        self.unexpected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))
        if record.exc_info:
            self.unexpected.append(self.said[-1])


@pytest.fixture(autouse=True)
def log_lines():
    """The human log. At the end nothing in it is a surprise to the publisher itself."""
    lines = Lines()
    logger = logging.getLogger("publisher")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    yield lines.said
    logger.removeHandler(lines)
    logger.setLevel(level)
    assert not lines.unexpected
    assert not [line for line in lines.said if "\n" in line or "Traceback" in line or "secret" in line]
