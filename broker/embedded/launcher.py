"""Starts the server so that it dies with its owner, ``kill -9`` included.

Run as a script of its own: ``launcher.py <linux|pipe> <owner's pid> <program> …``.
On Linux it asks the kernel for SIGTERM at the owner's death and then becomes
the server. Elsewhere it stays: its standard input is a pipe that the owner
holds open, and its end is the owner's. It must import next to nothing, because
the server's start waits for it.
"""

import os
import sys

PR_SET_PDEATHSIG = 1
SIGTERM = 15


def become(owner_pid: int, command: list[str]) -> None:
    """Linux. The kernel's promise survives exec; an owner that died before it was
    made shows as another parent."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)
    if os.getppid() == owner_pid:
        os.execv(command[0], command)


def stay(command: list[str], locks: list[int]) -> int:
    """Anywhere. Threads wait for a reason to end the server, this one for its end."""
    import signal
    import subprocess
    import threading

    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=locks)

    def hear_the_owner_die() -> None:
        while os.read(0, 1):
            pass
        asked.set()

    def end_the_server() -> None:
        asked.wait()
        server.terminate()

    for duty in (hear_the_owner_die, end_the_server):
        threading.Thread(target=duty, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    _, how, owner_pid, lock_fd, *command = sys.argv
    if how == "linux":
        become(int(owner_pid), command)
    else:
        sys.exit(stay(command, [int(lock_fd)]))
