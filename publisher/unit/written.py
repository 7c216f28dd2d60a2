"""A file that this program writes for the system: a unit or a property list.

Recognised by a marker, so that a file of somebody else is neither replaced nor removed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

MARKER = "Written by `publisher service install`"


class NotOurs(Exception):
    """The file exists, and somebody else wrote it."""


class Written:
    def __init__(self, path: Path) -> None:
        self.path = path

    def there(self) -> bool:
        """Raises ``NotOurs``."""
        return self._bytes() is not None

    def write(self, content: bytes) -> bool:
        """Whether it was another one before. Moved into place: the old or the new, never a half. Raises ``NotOurs``."""
        if self._bytes() == content:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o644)
            os.replace(beside, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        return True

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _bytes(self) -> bytes | None:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if MARKER.encode() not in content:
            raise NotOurs(f"{self.path} was not written by publisher service: give another --name, or remove it")
        return content
