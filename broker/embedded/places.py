"""Where the embedded server's files are.

One data directory is one server. Its socket has a path that stays the same
over restarts, because other processes hold on to it, and that is short enough
for a unix socket wherever the data is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from .errors import EmbeddedError

#: macOS takes 103 bytes, Linux 107.
_LONGEST_SOCKET_PATH = 100


def default_data_dir() -> Path:
    """$REVEILLE_DATA_DIR, else the place that the system has for such data."""
    asked = os.environ.get("REVEILLE_DATA_DIR")
    if asked:
        return Path(asked).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "reveille"
    shared = os.environ.get("XDG_DATA_HOME", "")
    # The XDG rules: a relative path is no path.
    home = Path(shared) if os.path.isabs(shared) else Path.home() / ".local" / "share"
    return home / "reveille"


def make_data_dir(data_dir: Path) -> Path:
    """Ours alone, because waiting prompts are data at rest."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"The data directory {data_dir} cannot be made ({error.strerror}). "
            f"Name another one with REVEILLE_DATA_DIR."
        ) from None
    return data_dir.resolve()


def socket_path(data_dir: Path) -> Path:
    """Beside the data, or in a private folder of this user when that is too long."""
    beside = data_dir / "redis.sock"
    if len(os.fsencode(beside)) < _LONGEST_SOCKET_PATH:
        return beside
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if len(os.fsencode(folder)) > 50:
        folder = Path("/tmp")
    mark = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return _private(folder / f"reveille-{os.getuid()}-{mark}") / "redis.sock"


def forget_socket(data_dir: Path, socket: Path) -> None:
    """Leave no private folder behind; the server took its socket away already."""
    if socket.name and socket.parent != data_dir:
        with contextlib.suppress(OSError):
            socket.unlink(missing_ok=True)
            socket.parent.rmdir()


def socket_url(socket: Path) -> str:
    """As REDIS_URL would say it."""
    return f"unix://{quote(str(socket))}"


def _private(folder: Path) -> Path:
    """The folder's name can be guessed, so somebody else's folder is refused."""
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if folder.is_symlink() or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise EmbeddedError(
            f"{folder} is not private to this user. Remove it, or choose a data directory "
            f"with a shorter path (REVEILLE_DATA_DIR), so that it is not needed."
        )
    return folder
