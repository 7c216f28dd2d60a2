"""What ``publisher logs`` prints: the publisher's own lines, or those of a server that it runs."""

from __future__ import annotations

import codecs
import sys
import time
from pathlib import Path

import click

from publisher.cli.printing import say
from publisher.control.client import NotFound, Running, running
from publisher.control.log_tail import follow as follow_file
from publisher.control.log_tail import last_lines, without_moves
from publisher.control.refused import Refused

PAUSE_S = 0.25


def show_own(publisher: Running, lines: int, follow: bool) -> None:
    if not follow:
        for line in publisher.ask("logs")[-lines:] if lines else ():
            say(line)
        return
    for line in publisher.follow(lines):
        say(line)
        sys.stdout.flush()
    raise Refused("the publisher has ended")


def show_file(name: str, config: Path | None, pid: int | None, lines: int, follow: bool) -> None:
    """Also of a publisher that runs no more: then one wants to read it most."""
    try:
        path = _told(name, running(config, pid))
    except NotFound:
        if pid is not None or (path := _written(name, config)) is None:
            raise
    shown = Shown()
    try:
        if follow:
            for block in follow_file(path, lines, lambda: time.sleep(PAUSE_S)):
                shown.more(block)
        else:
            with open(path, "rb") as file:
                shown.more(last_lines(file, lines))
            shown.end()
    except BrokenPipeError:  # whoever reads us has enough
        raise
    except OSError as err:
        raise Refused(f"{path} cannot be read: {err.strerror or err}") from None


class Shown:
    """To a terminal without what could act on it; elsewhere byte for byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def more(self, block: bytes) -> None:
        if not sys.stdout.isatty():
            click.get_binary_stream("stdout").write(block)
        else:
            *whole, self._rest = (self._rest + self._decoder.decode(block)).split("\n")
            for line in whole:
                say(without_moves(line))
        sys.stdout.flush()

    def end(self) -> None:
        if self._rest:
            say(without_moves(self._rest))


def _told(name: str, publisher: Running) -> Path:
    rows = publisher.status().rows
    row = next((row for row in rows if name == row.name or name in row.aliases), None)
    if row is None:
        names = ", ".join(row.name for row in rows[:10]) or "nothing"
        raise Refused(f'"{name}" is not published here; published: {names}')
    if row.log_file is None:
        raise Refused(f'"{name}" has no output of its own: its wake recipe runs no process')
    return Path(row.log_file)


def _written(name: str, config: Path | None) -> Path | None:
    from broker.wire import TOOLS
    from publisher.config.file import read_config
    from publisher.config.values import Config
    from publisher.find.place import default_config
    from publisher.recipes.log_file import log_path

    path = config or default_config()
    written = read_config(path) if path is not None else Config()
    if any(tool.name == name and tool.command for tool in written.tools):
        return log_path(TOOLS + name)
    for provider in written.providers:
        if provider.name == name and provider.wake is not None and (process := provider.wake.process) is not None:
            return Path(process.log_file) if process.log_file else log_path(name)
    return None
