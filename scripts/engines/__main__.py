"""``scripts/engine-…``: the story of one real engine. Ends with 0, or with 1 and the reason."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from demo.part import PartFailed
from demo.place import Place
from demo.voice import Voice
from engines.asking import AskFailed
from engines.known import ENGINES
from engines.story import Story


def main() -> int:
    name = sys.argv[1]
    arguments = argparse.ArgumentParser(prog=f"scripts/engine-{name}", description=ENGINES[name].description)
    arguments.add_argument("--once", action="store_true", help="end after the story, with exit code 0 or 1")
    arguments.add_argument("--port", type=int, help="the broker's port (default: 8080 if free, else any)")
    told = arguments.parse_args(sys.argv[2:])
    # It is how we were found; what we start, the engine among it, is to find nothing but its own.
    os.environ.pop("PYTHONPATH", None)
    voice = Voice(sys.stdout)
    try:
        with Place.temporary() as place:
            return asyncio.run(_until_signal(voice, Story(voice, ENGINES[name], place.folder, told.port), told.once))
    except BrokenPipeError:
        return 1


async def _until_signal(voice: Voice, story: Story, once: bool) -> int:
    telling = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
    told = False
    try:
        async with story:
            await story.tell()
            told = True
            if not once:
                await story.stay()
        return 0
    except asyncio.CancelledError:
        voice.say("Everything is stopped." if told else "Stopped before the end.")
        return 0 if told and not once else 1
    except (PartFailed, AskFailed) as failure:
        voice.failed(str(failure))
        return 1


if __name__ == "__main__":
    sys.exit(main())
