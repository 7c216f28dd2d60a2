"""How a service stands, and the seam between the verbs and a system that keeps services.

Plain values; no system is asked here.
"""

from __future__ import annotations

import subprocess
from typing import Protocol

import msgspec

from publisher.unit.job import Job

SLOWEST_S = 120.0  # stopping waits for the drain


class Unavailable(Exception):
    """This system keeps no services for us; the message says what to do instead."""


class Failed(Exception):
    """The system refused; its reason, on one line."""


class Standing(msgspec.Struct, rename="camel"):
    """``state``: running · starting · stopping · failed · stopped · absent (not installed)."""

    name: str
    state: str
    file: str
    installed: bool = False
    enabled: bool = False  # starts by itself
    pid: int | None = None
    since: str | None = None  # ISO-8601, in this state
    detail: str = ""  # what it said of itself, or why it ended
    log: list[str] = []  # the last lines
    log_command: str = ""


class Keeper(Protocol):
    """The system's keeper of services. Methods may raise ``Unavailable``, ``Failed``, ``NotOurs`` and ``OSError``."""

    def text(self, job: Job) -> str:
        """What would be written. Asks nobody."""

    def check(self) -> None:
        """Raises ``Unavailable``."""

    def variables(self, job: Job) -> dict[str, str]:
        """What the service would find in its environment, beside the usual. Never raises ``Unavailable``."""

    def install(self, job: Job) -> bool:
        """Whether anything had to change. It starts now and at every login."""

    def uninstall(self, name: str) -> bool:
        """Whether there was one."""

    def standing(self, name: str) -> Standing: ...

    def hint(self) -> str:
        """What else the person may want to do, or nothing."""


def told(*words: str, may_fail: bool = False, limit_s: float = SLOWEST_S) -> str:
    """What that program answered. Raises ``Failed``, ``Unavailable`` when it is not there."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=limit_s,
        )
    except FileNotFoundError:
        raise Unavailable(f"there is no {words[0]} here") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(words)} did not end within {limit_s:g} s") from None
    if done.returncode and not may_fail:
        reason = " ".join(done.stderr.split()) or f"ended with {done.returncode}"
        raise Failed(f"{' '.join(words)}: {reason}")
    return done.stdout
