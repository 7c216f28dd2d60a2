"""One program of a recipe: started without a shell, in a group of its own, and waited for.

Started by ``subprocess`` and not by the event loop, because uvloop's way ends in
a shell for a script without a first line. Arguments and environment may hold
keys: no text made here ever has them in it, only the program's own path.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from publisher.failures import RecipeFailed
from publisher.recipes.output import in_background

REMEDIES = {
    errno.ENOENT: "no such program: check its path, and the interpreter in its first line if it is a script",
    errno.EACCES: "permission denied: make it executable (chmod +x)",
    errno.ENOEXEC: "not a program: a script needs a first line like #!/bin/sh",
}


class Program:
    """Runs from the beginning on. With ``hear`` its stdin stays open, and its stdout is reports.

    ``hear`` gets each line, and an empty one at the end.
    """

    def __init__(
        self,
        command: str,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | None,
        output: int,
        hear: Callable[[str], None] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [command, *args],
            stdin=subprocess.PIPE if hear else subprocess.DEVNULL,
            stdout=subprocess.PIPE if hear else output,
            stderr=output,
            env={**os.environ, **env},
            cwd=directory,
            bufsize=0,
            **own_group(),
        )
        self.pid = self._process.pid
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        try:
            in_background(self._follow, hear)
        except OSError:
            self.kill()
            with self._process:  # closes its pipes and waits for it
                raise

    async def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    def close_stdin(self) -> None:
        self._process.stdin.close()

    def kill(self) -> None:
        """With all its children."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            kill_group(self.pid)

    # ── on the thread ───────────────────────────────────────────────────────

    def _follow(self, hear: Callable[[str], None] | None) -> None:
        if hear is not None:
            with self._process.stdout as reports:
                for line in reports:
                    self._tell(hear, line.decode(errors="replace").strip())
            self._tell(hear, "")
        self._tell(self._ended.set_result, self._process.wait())

    def _tell(self, hear: Callable, what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(hear, what)


def kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):  # it is gone, which each system tells in its own way
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)  # ends the one process at once
        else:
            os.killpg(pid, signal.SIGKILL)


def check_directory(command: str, directory: str | None) -> None:
    """Before the start: afterwards a missing directory looks like a missing program."""
    if directory is not None and not os.path.isdir(directory):
        raise RecipeFailed(f"{command} cannot be started: its directory {directory} does not exist: create it")


def cannot_start(command: str, err: OSError | ValueError) -> RecipeFailed:
    if isinstance(err, OSError):
        why = REMEDIES.get(err.errno) or err.strerror or type(err).__name__
    else:  # a NUL byte, or "=" in a variable's name
        why = f"{err}: check its arguments and environment"
    return RecipeFailed(f"{command} cannot be started: {why}")


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def own_group() -> dict:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
