"""One engine: what it is, how the publisher is to run it, what must be there before.

It starts nothing itself. In ``command``, ``args``, ``env`` and ``own`` stand
``{port}``, ``{folder}`` (this run's) and ``{environment}`` (where it is installed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

IDLE_S = 5
MIN_AWAKE_S = 1


def nothing_to_prepare(environment: Path, folder: Path) -> None:
    """It needs no more than what is installed."""


@dataclass(frozen=True)
class Engine:
    name: str
    description: str
    model: str
    environment_folder: str
    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str | int] = field(default_factory=dict)  # further fields of the provider
    path: str = "/v1"
    max_wait_s: int = 60
    prepare: Callable[[Path, Path], None] = nothing_to_prepare  # is given the environment, and this run's folder

    @property
    def environment(self) -> Path:
        return ROOT / self.environment_folder

    def config(self, broker: str, port: int, folder: Path) -> dict:
        """The publisher's config file."""
        places = {"port": port, "folder": folder, "environment": self.environment}

        def filled(text: str | int) -> str | int:
            return text.format(**places) if isinstance(text, str) else text

        wake = {"type": "process", "command": filled(self.command), "args": [filled(arg) for arg in self.args]}
        if self.env:
            wake["env"] = {name: filled(value) for name, value in self.env.items()}
        wake |= {"logFile": str(folder / "engine.log"), "maxWaitSeconds": self.max_wait_s}
        provider = {
            "name": self.name, "type": "openai", "model": filled(self.model), "publish": True,
            "url": f"http://127.0.0.1:{port}{self.path}", "description": self.description,
            **{name: filled(value) for name, value in self.own.items()},
            "wake": wake, "idleSeconds": IDLE_S, "minAwakeSeconds": MIN_AWAKE_S,
        }
        return {"broker": broker, "providers": [provider]}
