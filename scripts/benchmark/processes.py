"""Processes that the bench starts: pinned, measured, and always stopped.

CPU is what the scheduler counted for every thread of a process tree, memory the
sum of its resident sets. A process dies with the bench even when that is killed
outright. Logs go to files; a process that ends early is reported with its last lines.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """Something the user of the bench can act on."""


class Process:
    """One started program and all it starts."""

    def __init__(self, name: str, command: list[str], *, cores: Iterable[int], log: pathlib.Path,
                 env: dict[str, str] | None = None, pipe: bool = False) -> None:
        self.name = name
        self.log = log
        cores = set(cores)

        def in_child() -> None:
            os.sched_setaffinity(0, cores)
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        with open(log, "ab") as sink:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else sink,
                stderr=sink,
                env={**os.environ, **(env or {})},
                # A group of its own to kill, but in our session: where the kernel groups sessions
                # (autogroup), each would get an equal share of a core, the spinners too.
                process_group=0,
                preexec_fn=in_child,
            )
        self.stdout = self._popen.stdout

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ensure_running(self) -> None:
        if self._popen.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self._popen.returncode}:\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-count:]) or "  (it said nothing)"

    def tree(self) -> list[int]:
        """The process and its descendants, as they are now."""
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    queue.extend(int(child) for child in children.read_text().split())
        return found

    def cpu_s(self) -> float:
        """CPU seconds used so far by all threads of the tree."""
        return self._scheduled(0)

    def waited_s(self) -> float:
        """Seconds that its threads were ready to run and had no core."""
        return self._scheduled(1)

    def _scheduled(self, column: int) -> float:
        total_ns = 0
        for pid in self.tree():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total_ns += int(task.read_text().split()[column])
        return total_ns / 1e9

    def rss_mb(self) -> float:
        """Resident memory of the tree."""
        total_kb = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        total_kb += int(line.split()[1])
        return total_kb / 1024

    def stop(self, grace_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL to its whole process group."""
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        if self.stdout:
            self.stdout.close()


class Yard:
    """All processes of one bench run; leaving it stops them, the newest first."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._started: list[Process] = []

    def __enter__(self) -> "Yard":
        return self

    def __exit__(self, *exc: object) -> None:
        while self._started:
            self._started.pop().stop()

    def start(self, name: str, command: list[str], *, cores: Iterable[int],
              env: dict[str, str] | None = None, pipe: bool = False) -> Process:
        process = Process(name, command, cores=cores, log=self.directory / f"{name}.log", env=env, pipe=pipe)
        self._started.append(process)
        return process

    def stop(self, process: Process) -> None:
        self._started.remove(process)
        process.stop()
