"""``scripts/run``: reads the flags, offers a local LLM server, tells the story.

Ends with 0, or with 1 and the reason. It asks nothing when nobody sits at a
terminal, and never under ``--once``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress

from demo.ending import tell
from demo.voice import Voice
from publisher.config.values import Provider
from publisher.find.choice import providers, rows
from publisher.find.detect import detect


def main() -> int:
    arguments = argparse.ArgumentParser(prog="scripts/run", description="Show the main job.")
    arguments.add_argument("--once", action="store_true", help="end after the story, with exit code 0 or 1")
    arguments.add_argument("--port", type=int, help="the broker's port (default: 8080 if free, else any)")
    told = arguments.parse_args()
    voice = Voice(sys.stdout)
    try:
        chosen = None if told.once or not sys.stdin.isatty() else _offer(voice)
        return tell(voice, chosen, port=told.port, once=told.once)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _offer(voice: Voice) -> Provider | None:
    """The model that the user wants to publish instead of the demo."""
    there = [(one, model) for one, model in rows(asyncio.run(detect())) if "embed" not in model.lower()]
    found = providers(there)
    if not found:
        return None
    voice.say("A local LLM server answers here. What shall be published?")
    for number, ((server, _), one) in enumerate(zip(there, found, strict=True), 1):
        voice.say(f"  {number}  {one.model}  at {one.url} ({server.server})")
    voice.say("  d  the demo, an LLM that only echoes")
    with suppress(EOFError):
        while True:
            answer = input("Choice [1]: ").strip().lower() or "1"
            if answer == "d":
                break
            if answer.isdecimal() and 1 <= int(answer) <= len(found):
                return found[int(answer) - 1]
    return None


if __name__ == "__main__":
    sys.exit(main())
