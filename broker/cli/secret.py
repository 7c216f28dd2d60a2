"""``broker secret set``: keeps a key at the broker. It is typed unseen, piped, or in a file.

Never an argument: others on the machine see those, and shells write them down. It is printed nowhere.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .completion import secrets
from .options import connection, finish, refuse
from .printing import INTERRUPTED, say

if TYPE_CHECKING:
    from .api import Where

#: More than a broker takes.
LARGEST = 32 << 10
#: A terminal cuts off what is longer than this, and says nothing.
TYPED = 4095


@click.group()
def secret() -> None:
    """Set the keys that the broker calls upstreams and tool servers with.

    `broker get secrets` lists their names, `broker delete secret NAME` deletes one. Nothing reads a value back.
    """


@secret.command("set")
@click.argument("name", shell_complete=secrets)
@click.option("--from-file", "file", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="The value is what is in FILE.")
@connection
def set_(where: Where, name: str, file: str | None) -> None:
    """Keep a value under NAME, or replace the one before.

    On a terminal it is asked for and not shown; else it is read from stdin, or from FILE. A line's end behind it does not
    count.
    """
    try:
        value = _value(name, file)
    except KeyboardInterrupt:
        say(err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        refuse(error)
    finish(_set(where, name, value))


async def _set(where: Where, name: str, value: str) -> None:
    from .api import Api, segment

    async with Api(where) as api:
        await api.send("PUT", f"/api/v1/secrets/{segment(name)}", {"value": value})
    say(f"secret/{name} set")


def _value(name: str, file: str | None) -> str:
    """Raises Misused, which repeats nothing of it."""
    from .api import Misused

    if file is None and sys.stdin.isatty():
        value, source = _typed(name), "what was typed"
    else:
        value, source = kept_in(file), file or "stdin"
    if not value:
        raise Misused(f"{source} is empty; it is the value")
    return value


def _typed(name: str) -> str:
    import getpass
    import warnings

    from .api import Misused
    from .printable import one_line

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            value = getpass.getpass(f"Value of {one_line(name)}: ", stream=sys.stderr)
        except EOFError:
            say(err=True)
            return ""
        except getpass.GetPassWarning:
            raise Misused("this terminal would show what is typed: pipe the value, or give --from-file") from None
    if len(value) >= TYPED:
        raise Misused(f"a terminal takes at most {TYPED - 1:,} characters: pipe the value, or give --from-file")
    return value


def kept_in(file: str | None) -> str:
    """What is in a file, or comes by stdin, without its last line's end. Raises Misused."""
    from .api import Misused

    source = file or "stdin"
    try:
        if file is None:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(file, "rb") as opened:
                data = opened.read(LARGEST + 1)
    except OSError as error:
        raise Misused(f"{source}: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise Misused(f"{source} is larger than {LARGEST >> 10} KiB: that is no key")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Misused(f"{source} is no text") from None
