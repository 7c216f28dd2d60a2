"""The sticky session: an id in a small file, presented again after a restart.

The file belongs to one broker and one config, so that two configs on a machine
are two sessions. A file that cannot be read or written costs the stickiness,
never the start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

SESSION = re.compile(r"[A-Za-z0-9_.-]{1,128}")

log = logging.getLogger("publisher")


def user_home() -> Path:
    """A user whom the system does not know has none, as in some containers: nothing is kept then, and so it is said."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def state_home() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or user_home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_STATE_HOME") or user_home() / ".local" / "state")


def default_session_file(broker_url: str, published_from: str) -> Path:
    """``published_from``: the config file's path, or what stands for it on the command line."""
    digest = hashlib.sha256(f"{broker_url}\n{published_from}".encode()).hexdigest()[:16]
    return state_home() / "reveille" / f"session-{digest}.json"


def session_file_for(broker_url: str, brokers: int, written: Path | None, published_from: str) -> SessionFile:
    """Where the session at that broker is kept: as written, else by default; one file for each of several brokers."""
    if written is None:
        return SessionFile(default_session_file(broker_url, published_from))
    if brokers == 1:
        return SessionFile(written)
    digest = hashlib.sha256(broker_url.encode()).hexdigest()[:8]
    return SessionFile(written.with_name(f"{written.name}-{digest}"))


class SessionFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> str | None:
        try:
            session = json.loads(self.path.read_text("utf-8"))["providerSessionId"]
            if not isinstance(session, str) or not SESSION.fullmatch(session):
                raise ValueError("providerSessionId is not an id")
            return session
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as err:
            log.warning("session file %s is unusable (%s): starting a new session", self.path, err)
            return None

    def save(self, session: str) -> None:
        """Written beside and moved into place, so that a crash leaves the old file or the new one."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"providerSessionId": session}, file)
                os.replace(beside, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside)
                raise
        except OSError as err:
            log.warning(
                "session file %s cannot be written (%s): the next start will be a new session", self.path, err
            )

    def forget(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as err:
            log.warning("session file %s cannot be removed (%s)", self.path, err)
