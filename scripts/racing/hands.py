"""Somebody who puts rows to sleep and wakes them by hand, at any time, through the publisher's control socket.

To be refused because there is work is right; to be refused for anything else is wrong.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

PAUSE_S = 0.1
BUSY = ("is not idle", "has work on its way")


class Hands:
    def __init__(self, runtime: Path, names: Sequence[str], dice: random.Random) -> None:
        self.slept = 0
        self.refused = 0
        self.wrong: list[str] = []
        self._sockets = runtime / "reveille"
        self._names = names
        self._dice = dice

    async def work(self) -> None:
        """Until cancelled."""
        (path,) = self._sockets.glob("*.sock")
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            while True:
                await asyncio.sleep(self._dice.random() * PAUSE_S)
                order = {"do": self._dice.choice(("sleep", "sleep", "wake")), "name": self._dice.choice(self._names)}
                writer.write(json.dumps(order).encode() + b"\n")
                self._note(order, json.loads(await reader.readline()))
        finally:
            writer.close()

    def _note(self, order: dict, answer: dict) -> None:
        if "ok" in answer:
            self.slept += order["do"] == "sleep"
        elif order["do"] == "sleep" and any(words in answer["error"] for words in BUSY):
            self.refused += 1
        else:
            self.wrong.append(f"{order['do']} {order['name']} by hand: {answer['error']}")
