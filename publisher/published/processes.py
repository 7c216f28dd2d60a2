"""The server processes that endpoints start: one that an edit of the config leaves as it was runs on.

It starts none: recipes do. It stops one when nobody holds it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from publisher.config.values import Process
from publisher.recipes.log_file import log_path
from publisher.recipes.server_process import ServerProcess


class Held:
    """One endpoint's hold on its server's process."""

    def __init__(self, process: ServerProcess, holders: set[Held]) -> None:
        self.process = process
        self._holders = holders
        holders.add(self)

    async def let_go(self) -> None:
        """May be said twice: when the first was broken off."""
        self._holders.discard(self)
        if not self._holders:
            await self.process.stop()


class Processes:
    def __init__(self, on_exit: Callable[[], None]) -> None:
        self._on_exit = on_exit
        self._known: dict[str, tuple[Process, ServerProcess, set[Held]]] = {}

    def hold(self, name: str, step: Process) -> Held:
        """That of the endpoint of this name before, if its step was the same, else a new one."""
        self._known = {name: known for name, known in self._known.items() if known[2]}
        known = self._known.get(name)
        if known is None or known[0] != step:
            process = ServerProcess(step, name, Path(step.log_file) if step.log_file else log_path(name))
            process.on_exit = self._on_exit
            known = self._known[name] = step, process, set()
        return Held(known[1], known[2])
