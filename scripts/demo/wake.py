"""A wake recipe: ``wake.py LOG PROGRAM …`` starts a server and returns once it is ready.

A publisher runs it as it would run anybody's start script: exit 0 is success.
Standard library only, because its time is part of the wake.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    log, *program = sys.argv[1:]
    with open(log, "wb") as errors:
        server = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    if server.stdout.readline():
        return 0
    print(f"the server did not start: {Path(log).read_text(errors='replace')[-1000:]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
