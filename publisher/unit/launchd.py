"""Services on macOS: a launch agent of the user.

It speaks to launchd by ``launchctl`` only, and needs no root.
"""

from __future__ import annotations

import os
import plistlib
import re
import time
from pathlib import Path

from publisher.terminal.typed import typed
from publisher.unit.job import Job
from publisher.unit.standing import Failed, Standing, Unavailable, told
from publisher.unit.systemd_unit import STOP_S
from publisher.unit.written import MARKER, Written

RESTART_S = 10  # launchd takes no less
LEAVING_S = 5.0  # a job that was told to go is still known for a moment


class Launchd:
    def text(self, job: Job) -> str:
        log_file = str(self._log_file(job.name))
        keys = {
            "Label": job.name,
            "ProgramArguments": list(job.words),
            "EnvironmentVariables": {"PATH": job.search_path},
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": RESTART_S,
            "ExitTimeOut": STOP_S,
            "StandardOutPath": log_file,
            "StandardErrorPath": log_file,
        }
        if job.directory:
            keys["WorkingDirectory"] = str(job.directory)
        try:
            written = plistlib.dumps(keys, sort_keys=False).decode()
        except ValueError as err:
            raise Failed(f"a property list cannot hold this: {err}") from None
        return written.replace("<plist ", f"<!-- {MARKER}, which writes it anew. -->\n<plist ", 1)

    def check(self) -> None:
        try:
            told("launchctl", "print", self._domain(), limit_s=10)
        except Failed as err:
            raise Unavailable(f"nobody is logged in on this Mac's screen, as a launch agent needs: {err}") from None

    def variables(self, job: Job) -> dict[str, str]:
        return {}  # an agent has no environment file, and a property list is no place for secrets

    def install(self, job: Job) -> bool:
        file = self._file(job.name)
        changed = file.write(self.text(job).encode())
        if not changed and self._print(job.name):
            return False
        self._log_file(job.name).parent.mkdir(parents=True, exist_ok=True)
        told("launchctl", "enable", self._target(job.name))
        self._leave(job.name)
        told("launchctl", "bootstrap", self._domain(), str(file.path))
        return True

    def uninstall(self, name: str) -> bool:
        file = self._file(name)
        if not file.there():
            return False
        self._leave(name)
        file.remove()
        return True

    def standing(self, name: str) -> Standing:
        file, log_file = self._file(name), self._log_file(name)
        standing = Standing(name, "absent", str(file.path), log_command=f"tail -f {typed(log_file)}")
        if not file.there():
            return standing
        shown = self._print(name)
        standing.installed, standing.enabled = True, bool(shown)
        pid = re.search(r"^\s*pid = (\d+)$", shown, re.MULTILINE)
        code = re.search(r"^\s*last exit code = (\d+)", shown, re.MULTILINE)
        standing.pid = int(pid[1]) if pid else None
        if pid:
            standing.state = "running"
        elif code and code[1] != "0":
            standing.state, standing.detail = "failed", f"exit code {code[1]}"
        else:
            standing.state = "starting" if shown and not code else "stopped"
        standing.log = _last_lines(log_file)
        return standing

    def hint(self) -> str:
        return ""

    def _leave(self, name: str) -> None:
        told("launchctl", "bootout", self._target(name), may_fail=True)
        until = time.monotonic() + LEAVING_S
        while self._print(name):
            if time.monotonic() > until:
                raise Failed(f"launchd still stops the old {name}: try again in a minute")
            time.sleep(0.1)

    def _print(self, name: str) -> str:
        """What launchd knows of it; empty when it does not know it."""
        return told("launchctl", "print", self._target(name), may_fail=True, limit_s=10)

    def _target(self, name: str) -> str:
        return f"{self._domain()}/{name}"

    @staticmethod
    def _domain() -> str:
        return f"gui/{os.getuid()}"

    @staticmethod
    def _file(name: str) -> Written:
        return Written(Path.home() / "Library" / "LaunchAgents" / f"{name}.plist")

    @staticmethod
    def _log_file(name: str) -> Path:
        return Path.home() / "Library" / "Logs" / f"{name}.log"


def _last_lines(path: Path, count: int = 5) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
