"""``python -m broker.embedded``: the server alone, in the foreground.

For a Procfile that runs the broker's processes one by one; they attach to it.
With REDIS_URL set there is nothing to own: it says so and waits, because
Procfile runners stop everything when one process ends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from . import EmbeddedError, EmbeddedServer, default_data_dir


def main() -> int:
    arguments = argparse.ArgumentParser(
        prog="python -m broker.embedded", description="Run the embedded Redis until stopped."
    )
    arguments.add_argument("--data-dir", type=Path, default=default_data_dir())
    try:
        asyncio.run(_run(arguments.parse_args().data_dir))
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _run(data_dir: Path) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if os.environ.get("REDIS_URL"):
        print("REDIS_URL is set: no embedded Redis is needed", flush=True)
        await stopped.wait()
        return
    async with EmbeddedServer(data_dir) as server:
        print(f"{server.version} on {server.url}, data in {server.data_dir}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
