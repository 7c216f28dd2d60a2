"""Who gets how much of a pool's traffic: a member that fails fast, and members that have agents' conversations.

    PYTHONPATH=. .venv/bin/python -m scripts.pool_shares [--seconds 10]

Starts the embedded server's program on a free port and a replica in this process. First four members, of which one fails
all of its requests, half, or a fifth, at once, while the others answer in 50 ms: its share of what was asked after the first three
seconds. Then agents of many turns, each with a pause between two, on eight members: how many turns were on the member that had
most of the agent's, and the most that any member had of all turns, by the mean.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.brokers import replica
from tests.support.places import ServerPlace
from tests.support.pools import Asker
from tests.support.provider import Provider
from tests.support.server import Server, single_server

CLIENTS, ANSWER_S, SETTLED_S = 8, 0.05, 3.0


async def failing(server: Server, fails: float, seconds: float) -> str:
    chance, asked, statuses = random.Random(1), Counter(), Counter()
    async with replica(ServerPlace(server)) as broker, Provider(broker, "bad", "a", "b", "c", model="q", slots=8) as provider:
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def one(frame: dict) -> None:
            if frame["llmName"] == "bad" and chance.random() < fails:
                await provider.fail(frame, "broken")
                return
            await asyncio.sleep(ANSWER_S)
            await provider.answer(frame)

        async def publish(work: asyncio.TaskGroup) -> None:
            while True:
                frame = await provider.next(limit_s=60)
                asked[frame["llmName"]] += loop.time() - started > SETTLED_S
                work.create_task(one(frame))

        async def ask() -> None:
            while loop.time() - started < SETTLED_S + seconds:
                statuses[(await broker.chat("q"))[0]] += 1

        async with asyncio.TaskGroup() as work:
            publisher = work.create_task(publish(work))
            await asyncio.gather(*(ask() for _ in range(CLIENTS)))
            publisher.cancel()
    return f"{asked['bad'] / asked.total():6.1%} of {asked.total():,} asked, clients heard {dict(statuses)}"


async def staying(server: Server, agents: int, seconds: float) -> str:
    chance, names = random.Random(2), [f"m{number}" for number in range(8)]
    turns: dict[str, Counter] = {f"agent{number}": Counter() for number in range(agents)}
    async with replica(ServerPlace(server)) as broker, Provider(broker, *names, model="q", slots=16) as provider:
        asker = Asker(broker)
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds

        async def agent(name: str) -> None:
            await asyncio.sleep(chance.random())
            while loop.time() < ends:
                task = f"{name}.{turns[name].total()}"
                llm = (await asker.ask("q", affinity=name, task=task)).llm
                turns[name][llm] += 1
                # Answers differ much in length; most pauses are a tool's.
                await asyncio.sleep(chance.lognormvariate(-2, 0.8))
                await asker.end(task, provider.session)
                await asyncio.sleep(chance.expovariate(8) if chance.random() < 0.9 else chance.expovariate(1))

        await asyncio.gather(*map(agent, turns))
    total = sum(counts.total() for counts in turns.values())
    stayed = sum(max(counts.values()) for counts in turns.values()) / total
    most = max(sum(counts[name] for counts in turns.values()) for name in names) / (total / len(names))
    return f"{stayed:6.1%} of {total:,} turns stayed, the busiest member had {most:.2f} × the mean"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="rv") as folder, single_server(Path(folder), "--save", "") as server:
        for fails in (1.0, 0.5, 0.2):
            print(f"one of four fails {fails:4.0%}: {asyncio.run(failing(server, fails, seconds))}")
        for agents in (16, 32, 64, 128):
            print(f"{agents:3} agents on eight: {asyncio.run(staying(server, agents, seconds))}")


if __name__ == "__main__":
    main()
