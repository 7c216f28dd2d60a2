"""``scripts/engine-llamacpp``: the story of ``scripts/run``, with llama.cpp as the LLM that is woken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo.ending import tell
from demo.sleeper import Sleeper
from demo.voice import Voice

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".venv-engines" / "bin" / "python"

LLAMACPP = Sleeper(
    name="llamacpp", model="tiny-random", prompt="Good morning!",
    description="llama.cpp with a tiny model of random weights: it answers nonsense",
    program=(str(PYTHON), str(HERE / "llamacpp_server.py"), "--model", str(PYTHON.parent.parent / "tiny-random.gguf")),
)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="scripts/engine-llamacpp", description=__doc__)
    arguments.add_argument("--once", action="store_true", help="end after the story, with exit code 0 or 1")
    arguments.add_argument("--port", type=int, help="the broker's port (default: 8080 if free, else any)")
    told = arguments.parse_args()
    try:
        return tell(Voice(sys.stdout), LLAMACPP, port=told.port, once=told.once)
    except (KeyboardInterrupt, BrokenPipeError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
