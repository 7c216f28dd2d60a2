"""Where the control socket of a publisher is: found again by whoever knows its config file.

It looks at folders and makes them; it never opens a socket and never removes
anything. A folder that others may enter is not used: whoever can put a socket
into it could answer in the publisher's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from publisher.link.session import state_home

#: Windows has no unix sockets in Python: there it is a port of 127.0.0.1, told by a file that holds a secret.
BY_TCP = sys.platform == "win32"
#: What fits into the address of a unix socket, on macOS; Linux has four bytes more.
LONGEST_PATH = 103


class Unusable(Exception):
    """The folder cannot hold the socket; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """One publisher's socket may be in any of ``folders``; it is made in the first that can hold it."""

    name: str
    folders: tuple[Path, ...]
    by_tcp: bool = BY_TCP

    @classmethod
    def of(cls, config: Path | None, otherwise: str = "") -> Place:
        """``otherwise``: what stands for the config file when all is said by flags."""
        source = os.path.abspath(config) if config is not None else otherwise
        return cls(hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16], folders())

    @property
    def paths(self) -> tuple[Path, ...]:
        """In order: of the socket, or of the file that tells the port."""
        end = ".port" if self.by_tcp else ".sock"
        return tuple(folder / f"{self.name}{end}" for folder in self.folders)


def everywhere(by_tcp: bool = BY_TCP) -> Iterator[Path]:
    """Every socket of this user's publishers, left behind ones too."""
    end = ".port" if by_tcp else ".sock"
    for folder in folders():
        try:
            check(folder)
            found = sorted(path for path in folder.iterdir() if path.suffix == end)
        except (OSError, Unusable):
            continue
        yield from found


def folders() -> tuple[Path, ...]:
    """The user's run-time folder first. Where that is not told (cron, su), it is still where it always is."""
    state = state_home() / "reveille" / "control"
    if sys.platform == "win32":
        return (state,)
    user = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}"
    found = [Path(runtime) / "reveille"] if os.path.isabs(runtime) and os.path.isdir(runtime) else []
    with contextlib.suppress(OSError):  # on a full disk there is no temporary folder
        return (*found, state, Path(tempfile.gettempdir()) / f"reveille-{user}")
    return (*found, state)


def prepare(path: Path) -> None:
    """Makes the path's folder, for us alone. Raises ``Unusable``."""
    if len(os.fsencode(path)) > LONGEST_PATH and path.suffix == ".sock":
        raise Unusable(f"{path} is too long for a socket")
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        check(path.parent)
    except OSError as err:
        raise Unusable(f"{path.parent} cannot be used: {err.strerror or err}") from None


def check(folder: Path) -> None:
    """Whether nobody else can put anything there. Raises ``Unusable``, or ``OSError`` when it is not there."""
    found = os.lstat(folder)
    if sys.platform == "win32":  # what is below the user's own folder is the user's own
        return
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{folder} is not a folder: remove it")
    if found.st_uid != os.geteuid():
        raise Unusable(f"{folder} belongs to somebody else")
    if found.st_mode & 0o077:
        raise Unusable(f"others may enter {folder}: chmod 700 it")
