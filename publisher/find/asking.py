"""Questions to the person at the terminal, on stderr. Whoever asks is handed in, so that tests can answer."""

from __future__ import annotations

import sys
from typing import Protocol

import click


class Ask(Protocol):
    def tell(self, line: str = "") -> None: ...

    def text(self, question: str, default: str | None = None, hidden: bool = False) -> str:
        """``default=""`` lets people answer nothing."""

    def yes(self, question: str, default: bool) -> bool: ...


class Terminal:
    def tell(self, line: str = "") -> None:
        click.echo(line, err=True)

    def text(self, question: str, default: str | None = None, hidden: bool = False) -> str:
        shown = bool(default) and not hidden
        return str(click.prompt(question, default=default, hide_input=hidden, show_default=shown, err=True)).strip()

    def yes(self, question: str, default: bool) -> bool:
        return click.confirm(question, default=default, err=True)


def on_terminal() -> bool:
    """Whether somebody is there to answer: they type on stdin and read stderr."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
