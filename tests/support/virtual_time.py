"""An event loop whose clock jumps to the next timer: seconds pass in no time, in the same order each run."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped_s = 0.0

    def select(self, timeout: float | None = None):
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        self.jumped_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.jumped_s


def run_virtually(main: Coroutine[object, object, object]) -> object:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
