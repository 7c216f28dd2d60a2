"""An LLM server that the story may put to sleep and have woken: the demo, or a real engine.

``program`` is what serves it, to which the port and the leash are added. It says
one line on its standard output when it is ready, and ends when the leash does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from demo.place import Place

WAKE_WAIT_S = 60
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sleeper:
    name: str
    model: str
    description: str
    prompt: str
    program: tuple[str, ...]
    echoes: bool = False

    def config(self, port: int, place: Place) -> dict:
        """The publisher's config file, with the recipe that wakes it."""
        wake = {
            "type": "command", "command": sys.executable, "maxWaitSeconds": WAKE_WAIT_S,
            "args": [str(HERE / "wake.py"), str(place.backend_log), *self.program,
                     "--port", str(port), "--leash", str(place.leash)],
        }
        provider = {
            "name": self.name, "type": "openai", "model": self.model, "publish": True, "slots": 4,
            "url": f"http://127.0.0.1:{port}/v1", "description": self.description, "wake": wake,
        }
        return {"providers": [provider]}


DEMO = Sleeper(
    name="demo", model="demo-echo", description="a demo, no real LLM: it echoes what it is told", echoes=True,
    prompt="Good morning! Every word of this comes by itself.",
    program=(sys.executable, str(HERE / "backend.py")),
)
