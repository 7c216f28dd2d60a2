"""What every client verb takes: which broker, as whom, for how long; and how its errors end it.

It loads no HTTP client before one is needed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

import click

from .printing import FAILED, INTERRUPTED, MISUSED, fail

if TYPE_CHECKING:
    from .api import Where

BROKER = "http://127.0.0.1:8080"
TIMEOUT_S = 30.0


def connection(verb: Callable) -> Callable:
    """Adds ``--broker``, ``--token`` and ``--timeout``; the verb gets ``where``."""

    @click.option("--broker", envvar="BROKER_URL", show_envvar=True, default=BROKER, show_default=True, metavar="URL",
                  help="The broker's address.")
    @click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="A token of that broker. Others see a command line; they do not see a variable.")
    @click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=TIMEOUT_S, show_default=True, metavar="SECONDS",
                  help="For each call; an LLM's answer may take longer.")
    @functools.wraps(verb)
    def around(*, broker: str, token: str | None, timeout: float, **given: object) -> None:
        verb(where=_where(broker, token, timeout), **given)

    return around


def _where(broker: str, token: str | None, timeout_s: float) -> Where:
    from .api import Where

    return Where(broker, token or None, timeout_s)


def finish(command: Coroutine[object, object, int | None]) -> None:
    """Runs a verb's coroutine to its end; leaves with the exit code that it returns, or with one line that says what to do."""
    import asyncio

    try:
        code = asyncio.run(command)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        quiet()
    except Exception as error:
        refuse(error)
    else:
        sys.exit(code or 0)


def refuse(error: Exception) -> None:
    """Ends the program for what a person can mend; anything else is a bug and goes on its way."""
    from .api import Broken, Misused, Refused, Unreachable

    if isinstance(error, Misused):
        fail(str(error), MISUSED)
    if isinstance(error, Broken | Refused | Unreachable):
        fail(str(error))
    raise error


def quiet() -> None:
    """Whoever read our output is gone: what is still to be written goes nowhere."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(FAILED)
