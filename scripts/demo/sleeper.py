"""The demo LLM, and how it is published: its server is started by the publisher, and stopped when nobody asks."""

from __future__ import annotations

import sys
from pathlib import Path

from demo.place import Place

NAME = "demo"
PROMPT = "Good morning! Every word of this comes by itself."
IDLE_S = 2.0
BACKEND = Path(__file__).resolve().parent / "backend.py"


def config(broker: str, port: int, place: Place) -> dict:
    """The publisher's config file."""
    wake = {
        "type": "process", "command": sys.executable, "args": [str(BACKEND), "--port", str(port)],
        "directory": str(place.folder), "logFile": str(place.backend_log), "graceSeconds": 2,
    }
    provider = {
        "name": NAME, "model": "demo-echo", "url": f"http://127.0.0.1:{port}/v1", "publish": True, "slots": 4,
        "description": "a demo, no real LLM: it echoes what it is told",
        "wake": wake, "idleSeconds": IDLE_S, "minAwakeSeconds": 0,
    }
    return {"broker": broker, "providers": [provider]}
