"""A conversation stays with the member that had it, as long as that one is not much fuller than the others."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.support.brokers import replica
from tests.support.pools import POOLS, Asker, explained, make_pool
from tests.support.provider import Provider
from tests.support.streams import asked

KEY = "X-Affinity-Key"


async def served(broker, provider: Provider, model: str = "q", **more) -> str:
    """Who answers when all are idle."""
    task = asked(broker.chat(model, **more))
    frame = await provider.next()
    await provider.answer(frame)
    assert (await task)[0] == 200
    return frame["llmName"]


def conversation(name: str, turns: int = 1) -> list[dict]:
    said = [{"role": "system", "content": "be kind"}, {"role": "user", "content": name}]
    return said + [{"role": "assistant", "content": "x"}, {"role": "user", "content": "more"}] * (turns - 1)


async def test_a_conversation_is_known_by_its_beginning(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=8) as provider:
        running = asked(broker.chat("q", messages=conversation("other")))
        blocker = await provider.next()
        assert blocker["llmName"] == "a"
        assert await served(broker, provider, messages=conversation("mine")) == "b"
        await provider.answer(blocker)
        await running
        for turns in (2, 3, 4):
            assert await served(broker, provider, messages=conversation("mine", turns)) == "b"


async def test_a_conversation_is_known_by_its_key(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=8) as provider:
        running = asked(broker.chat("q"))
        blocker = await provider.next()
        task = asked(broker.chat("q", headers={KEY: "k"}))
        await provider.answer(await provider.next())
        assert (await task)[2]["X-Served-By"] == "b"
        await provider.answer(blocker)
        await running
        for content in "xyz":
            messages = [{"role": "user", "content": content}]
            assert await served(broker, provider, messages=messages, headers={KEY: "k"}) == "b"
        task = asked(broker.chat("q", headers={KEY: "k"}))
        await provider.answer(await provider.next())
        told = await explained(broker, (await task)[2])
        assert told["attempts"][0]["why"] == "affinity"


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_that_cannot_be_is_refused(redis_real, key):
    async with replica(redis_real) as broker, Provider(broker, "a", model="q"):
        status, body, _ = await broker.chat("q", headers={KEY: key})
        assert status == 422 and body["error"]["param"] == KEY


async def test_a_pool_may_be_without_affinity(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", slots=8) as provider:
        await make_pool(broker, "pool", "a", "b", affinity=False)
        asker = Asker(broker)
        chosen = []
        for affinity in (False, True):
            assert (await broker.call("PATCH", f"{POOLS}/pool", {"affinity": affinity}))[0] == 200
            assert (await asker.ask("pool", affinity="mine", left_out=("a",))).llm == "b"
            await asker.finish_all(provider.session)
            await redis_at.lose("load:a", "load:b")
            chosen.append((await asker.ask("pool", affinity="mine")).llm)
            await asker.finish_all(provider.session)
        assert chosen == ["a", "b"]


async def test_the_member_out_of_the_line_is_remembered_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        asker = Asker(broker)
        for name in "12":
            await asker.ask("q", task=name)
        await asker.ask("q", task="waits", affinity="mine")
        await asker.end("2", provider.session)
        await asker.end("waits", provider.session)
        await asker.end("1", provider.session)
        assert (await asker.ask("q", affinity="mine")).llm == "b"
        await asker.end(asker.held[-1][0], provider.session)


async def test_a_member_that_is_full_asleep_or_gone_is_not_held_on_to(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=2) as provider:
        asker = Asker(broker)
        assert (await asker.ask("q", affinity="mine")).llm == "a"
        await asker.finish_all(provider.session)
        await provider.post("/_provider-status", {"providerSessionId": provider.session, "llmName": "a", "status": "hibernating"})
        assert (await asker.ask("q", affinity="mine")).llm == "b"
        await asker.finish_all(provider.session)
        await provider.post("/_provider-status", {"providerSessionId": provider.session, "llmName": "a", "status": "active"})
        assert (await asker.ask("q", affinity="mine", left_out=("b",))).llm == "a"
        await asker.finish_all(provider.session)


async def as_quick(place, names: list[str]) -> None:
    """As if answers of all took as long: here that is chance."""
    redis = place.redis()
    for name in names:
        await redis.hset(f"rv:{{{place.namespace}}}:load:{name}", "avgMs", 100)
    await redis.aclose()


async def test_agents_stay_with_their_member_and_none_has_more_than_a_quarter_above_the_mean(redis_real):
    """A trace: 32 agents of many turns each, on eight members; most think before their next turn, for longer or shorter."""
    names, chance = [f"m{number}" for number in range(8)], random.Random(11)
    async with replica(redis_real) as broker, Provider(broker, *names, model="q", slots=16) as provider:
        asker = Asker(broker)
        agents = [f"agent{number}" for number in range(32)]
        had, running = {agent: Counter() for agent in agents}, {}
        for step in range(2400):
            if step % 4 == 0:
                await as_quick(redis_real, names)
            agent = chance.choice(agents)
            if agent in running:
                await asker.end(running.pop(agent), provider.session)
                continue
            llm = (await asker.ask("q", affinity=agent)).llm
            running[agent] = asker.held.pop()[0]
            had[agent][llm] += 1
        turns = sum(had.values(), Counter())
        stayed = sum(max(counts.values()) for counts in had.values()) / turns.total()
        assert stayed >= 0.9 and max(turns.values()) <= 1.25 * turns.total() / len(names), (stayed, turns)
        for task in running.values():
            await asker.end(task, provider.session)


async def test_a_member_with_more_slots_keeps_more_conversations(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "big", model="q", slots=12) as big, Provider(broker, "small", model="q", slots=1) as small:
        asker = Asker(broker)
        agents = [f"agent{number}" for number in range(6)]
        for agent in agents:
            await asker.ask("q", affinity=agent, left_out=("small",))
        await asker.finish_all(big.session)
        # The other is idle, and still has only its part of the load.
        assert [(await asker.ask("q", affinity=agent)).why for agent in agents] == ["affinity"] * 6
        await asker.finish_all(big.session)
        assert small.frames.empty()
