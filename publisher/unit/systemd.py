"""Services on Linux: a unit of the user's own systemd.

It speaks to systemd by ``systemctl --user`` only, and needs no root.
"""

from __future__ import annotations

import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from publisher.unit.job import Job
from publisher.unit.standing import Failed, Standing, Unavailable, told
from publisher.unit.systemd_unit import unit_text
from publisher.unit.written import Written

STATES = {"active": "running", "reloading": "running", "activating": "starting", "deactivating": "stopping",
          "failed": "failed"}
ASKED = ("ActiveState", "SubState", "UnitFileState", "MainPID", "StateChangeTimestampMonotonic", "StatusText",
         "Result", "ExecMainStatus")


class Systemd:
    def text(self, job: Job) -> str:
        try:
            return unit_text(job)
        except ValueError as err:
            raise Failed(str(err)) from None

    def check(self) -> None:
        try:
            told("systemctl", "--user", "show-environment", limit_s=10)
        except (Failed, Unavailable) as err:
            raise Unavailable(
                f"no systemd of this user runs here (a container, or sudo?): {err}. "
                "Start it with `publisher run` from what starts your programs"
            ) from None

    def variables(self, job: Job) -> dict[str, str]:
        try:
            lines = told("systemctl", "--user", "show-environment", limit_s=10).splitlines()
        except (Failed, Unavailable):  # nothing will be installed either
            lines = []
        return {**dict(line.split("=", 1) for line in lines if "=" in line), **_env_file(job.env_file)}

    def install(self, job: Job) -> bool:
        unit = _unit(job.name)
        changed = self._file(job.name).write(self.text(job).encode())
        if changed:
            told("systemctl", "--user", "daemon-reload")
        told("systemctl", "--user", "enable", unit)
        if changed or self.standing(job.name).state not in ("running", "starting"):
            # Ready is registered: who waited for that would wait as long as the broker is away.
            told("systemctl", "--user", "restart", "--no-block", unit)
        return changed

    def uninstall(self, name: str) -> bool:
        file = self._file(name)
        if not file.there():
            return False
        told("systemctl", "--user", "disable", "--now", _unit(name))
        file.remove()
        told("systemctl", "--user", "daemon-reload")
        told("systemctl", "--user", "reset-failed", _unit(name), may_fail=True)
        return True

    def standing(self, name: str) -> Standing:
        file = self._file(name)
        standing = Standing(name, "absent", str(file.path), log_command=f"journalctl --user -u {_unit(name)}")
        if not file.there():
            return standing
        answer = told("systemctl", "--user", "show", _unit(name), *(f"--property={key}" for key in ASKED))
        shown = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
        standing.installed = True
        standing.enabled = shown.get("UnitFileState") == "enabled"
        again = shown.get("SubState") == "auto-restart"  # between two tries
        standing.state = "failed" if again else STATES.get(shown.get("ActiveState", ""), "stopped")
        standing.pid = int(shown.get("MainPID") or 0) or None
        standing.since = _iso(int(shown.get("StateChangeTimestampMonotonic") or 0))
        standing.detail = shown.get("StatusText", "")
        if standing.state == "failed":
            ended = f"{shown.get('Result')}, exit code {shown.get('ExecMainStatus')}"
            standing.detail = ended + (", is tried again" if again else "")
        lines = told("journalctl", "--user", "-u", _unit(name), "-n", "5", "-o", "cat", "--no-pager",
                     may_fail=True, limit_s=10)
        standing.log = lines.splitlines()
        return standing

    def hint(self) -> str:
        user = getpass.getuser()
        if told("loginctl", "show-user", user, "--property=Linger", may_fail=True, limit_s=10).strip() == "Linger=yes":
            return ""
        return f"it stops when you log out, unless: loginctl enable-linger {user}"

    @staticmethod
    def _file(name: str) -> Written:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return Written(home / "systemd" / "user" / _unit(name))


def _unit(name: str) -> str:
    return f"{name}.service"


def _iso(boot_us: int) -> str | None:
    """From systemd's clock, which counts from the machine's start."""
    if not boot_us:
        return None
    at = time.time() - time.monotonic() + boot_us / 1e6
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _env_file(path: Path) -> dict[str, str]:
    """As systemd reads it, but for its rarer ways of quoting."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[key.strip()] = value[1:-1] if quoted else value
    return found
