"""What a choice costs in Redis, by how many members the pool has.

    PYTHONPATH=. .venv/bin/python -m scripts.pool_cost [--members 10,100,1000] [--choices 400] [--repeat 5]

First what an LLM by its name costs. Starts the embedded server's program on a free port, makes pools of so many live members
with four slots each, and asks and ends requests at a steady load of half the slots. Prints Redis' own count of microseconds per call: the quietest tenth of the windows, and their median,
which a busy machine spoils.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import uuid
from pathlib import Path

from broker.open_store import open_store
from broker.settings import Settings
from broker.store import Store
from broker.store.address import parse
from broker.store.pools import Choice
from broker.store.tasks import Item
from tests.support.server import Server, single_server

SLOTS, DONE = 4, [b"D0:"]


def spent(server: Server) -> int:
    """Microseconds in scripts so far."""
    return server.client().info("commandstats")["cmdstat_evalsha"]["usec"]


async def fill(store: Store, members: int, slots: int) -> str:
    fields = {"type": "openai", "model": "q", "tier": "fast", "slots": str(slots), "aliases": "[]"}
    rows = [{"name": f"m{n}", "id": str(n), "initial": "active", "fields": fields, "defaults": {}} for n in range(members)]
    session = uuid.uuid4().hex
    for start in range(0, members, 100):
        await store.sessions.register(session, "o", llms=rows[start : start + 100], agents=[], replace=False, accepts=False)
    await store.sessions.open_channel(session, "o", channel="c", replica=store.replica.name, instance="i")
    return session


async def measure(
    server: Server, members: int, choices: int, repeat: int, *, named: bool = False
) -> tuple[float, list[float], list[float]]:
    """Microseconds: of the choice that builds the order, of a choice, of an answer's end. ``named``: of the first member, by
    its name."""
    store = open_store(Settings(namespace=f"cost{members}{named}"), parse(server.url))
    try:
        await store.replica.beat(first=True)
        await store.warm_up()
        session = await fill(store, members, 4 * SLOTS if named else SLOTS)
        held: list[str] = []

        async def ask() -> None:
            task = uuid.uuid4().hex
            if named:
                given = await store.tasks.dispatch(
                    "m0", task, owner="o", frame=b'{"taskId":"t","llmName":"m0","request":{},"deadlineMs":', body=b"", deadline_ms=600_000,
                )
                assert given.state == "sent", given
                held.append(task)
                return
            given = await store.pools.dispatch(
                "q", task, Choice(task, task), owner="o", frame=b'{"taskId":"t","llmName":', tail=b',"request":{},"deadlineMs":',
                body=b"", deadline_ms=600_000,
            )
            assert given.state == "sent", given
            held.append(task)

        async def end() -> None:
            assert await store.tasks.results(session, "o", [Item(held.pop(0), None, 1, "e", DONE, "ok")]) == ["200"]

        before = spent(server)
        await ask()
        built = spent(server) - before
        for _ in range(SLOTS * members // 2):
            await ask()
        chosen, ended = [], []
        for _ in range(repeat):
            first = spent(server)
            for _ in range(choices // 10):
                for _ in range(10):
                    await ask()
                middle = spent(server)
                chosen.append((middle - first) / 10)
                for _ in range(10):
                    await end()
                first = spent(server)
                ended.append((first - middle) / 10)
        return built, chosen, ended
    finally:
        await store.close()


def shown(windows: list[float]) -> str:
    return f"{statistics.quantiles(windows, n=10)[0]:6.1f} µs ({statistics.median(windows):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="10,100,1000")
    parser.add_argument("--choices", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rv") as folder, single_server(Path(folder), "--save", "") as server:
        _, chosen, ended = asyncio.run(measure(server, 1, given.choices, given.repeat, named=True))
        print(f"    by name: choice {shown(chosen)}   end {shown(ended)}")
        for members in map(int, given.members.split(",")):
            built, chosen, ended = asyncio.run(measure(server, members, given.choices, given.repeat))
            print(f"{members:5} members: choice {shown(chosen)}   end {shown(ended)}   the first, which builds the order, {built:,} µs")


if __name__ == "__main__":
    main()
