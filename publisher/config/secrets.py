"""Reads a secret that stands alone in a file, as containers and service managers hand them over.

Complaints name the file, never what is in it. Who may read the file is not its matter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from publisher.config.mistake import Mistake, Place
from publisher.config.values import ConfigError

#: No token or key is that long: another file is meant.
MOST_BYTES = 16_384


def secret_file(path: str | Path, where: str) -> str:
    """The file's content without the spaces and line breaks around it.

    ``where`` says in the complaint who named the file, like ``BROKER_TOKEN_FILE``.
    """
    try:
        return contents(Path(path))
    except Mistake as mistake:
        raise ConfigError(f"{where}: {mistake.text}") from None


def contents(path: Path) -> str:
    """The same for those who know the place; raises ``Mistake``."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig").strip()
    except OSError as err:
        raise Mistake((), f"{path} cannot be read: {err.strerror or err}") from None
    except UnicodeDecodeError:
        raise Mistake((), f"{path} is not UTF-8 text") from None
    if len(raw) > MOST_BYTES:
        raise Mistake((), f"{path} is too large for a secret")
    if not text:
        raise Mistake((), f"{path} is empty")
    if not text.isprintable():
        raise Mistake((), f"{path} must hold one line without control characters")
    return text


def check_written(secret: str | None, at: Place) -> None:
    """Refuses what is no secret but a variable as a shell has it: it would be sent as it stands."""
    if secret and re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", secret):
        raise Mistake(at, "is taken as it stands: an environment variable is written ${NAME}, with braces")


class Folder:
    """The config file's folder. Paths in the file begin there; it notes the files whose content counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: list[Path] = []

    def place(self, written: str | None) -> str | None:
        """A path of the file as an absolute one; ``~`` is the user's home."""
        return None if written is None else os.path.normpath(self._path / os.path.expanduser(written))

    def watched(self, written: str | None) -> str | None:
        """The same, of a file that is read later by others."""
        path = self.place(written)
        if path is not None:
            self.files.append(Path(path))
        return path

    def secret(self, written: str | None, file: str | None) -> str | None:
        """A secret that is written here or stands in a file; an empty one is none."""
        path = self.watched(file)
        return contents(Path(path)) if path is not None else written or None
