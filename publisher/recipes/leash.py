"""Holds one server program, and ends it with all its children when its owner lets go or dies.

Run as a script of its own: ``leash.py <grace seconds> <program> …``. Its standard
input is a pipe that the owner holds open: the end of it, even by ``kill -9``, is
the order to end the server. What it reports goes to standard output, one line
each: ``running <pid>``, ``failed <errno> <text>``, ``ended <exit code>``.
Standard error belongs to the server's output. It never imports the publisher.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.02
KILLED_S = 5.0


def report(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to hear it
        os.write(1, f"{line}\n".encode())


def prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_the_leash() -> None:
    """In the server before its program begins: should the leash itself be killed."""
    prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def started(command: list[str]) -> subprocess.Popen:
    own_group: dict = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    if sys.platform == "linux":
        own_group["preexec_fn"] = die_with_the_leash
        # Orphans become ours, and are gone once they ended, whatever process 1 does with such.
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, **own_group)


def wait_for_a_reason(server: subprocess.Popen) -> None:
    """Returns when the server ended, the owner let go, or somebody ended the leash."""
    reason = threading.Event()

    def hear_the_owner() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        reason.set()

    def hear_the_server() -> None:
        wait_for_the_end(server)
        reason.set()

    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: reason.set())
    for duty in (hear_the_owner, hear_the_server):
        threading.Thread(target=duty, daemon=True).start()
    reason.wait()


def wait_for_the_end(server: subprocess.Popen) -> None:
    if sys.platform != "linux":
        server.wait()
        return
    with contextlib.suppress(ChildProcessError):  # the main thread asked first
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)).si_pid != server.pid:
            os.waitpid(ended.si_pid, 0)


def end(server: subprocess.Popen, grace_s: float) -> None:
    """The whole group: children that outlived the server hold memory that the next one needs."""
    if sys.platform == "win32":
        server.terminate()
        return
    tell_group(server, signal.SIGTERM)
    if not gone_within(server, grace_s):
        tell_group(server, signal.SIGKILL)
        gone_within(server, KILLED_S)


def gone_within(server: subprocess.Popen, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while server.poll() is None or still_there(server):
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_S)
    return True


def still_there(server: subprocess.Popen) -> bool:
    """Whether any of its group lives, the server itself being gone."""
    with contextlib.suppress(ChildProcessError):  # none of them is ours
        while os.waitpid(-server.pid, os.WNOHANG)[0]:
            pass
    return tell_group(server, 0)


def tell_group(server: subprocess.Popen, number: int) -> bool:
    """False when nobody is left in it (or nobody whom we may signal)."""
    try:
        os.killpg(server.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(grace_s: float, command: list[str]) -> None:
    try:
        server = started(command)
    except (OSError, ValueError) as err:
        report(f"failed {getattr(err, 'errno', None) or 0} {getattr(err, 'strerror', None) or err}")
        return
    report(f"running {server.pid}")
    wait_for_a_reason(server)
    end(server, grace_s)
    report(f"ended {server.wait()}")


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
