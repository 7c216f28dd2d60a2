"""What a turn and its thread may take: of Redis in one step, of memory over all, of answers."""

from __future__ import annotations

import uuid

import pytest

from broker.chat.record import Record
from broker.store.turns import Turns
from broker.threads import Kept
from msgspec import Raw
from tests.support.agents import make_agent
from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.threads import BOT, ask, make_thread, messages, say, thread_of, turn

MIB = 1 << 20


class Weighed:
    """The scripts, and how many bytes each of their calls had."""

    def __init__(self, scripts):
        self._scripts = scripts
        self.bytes: list[int] = []

    async def run(self, script: str, *args) -> object:
        self.bytes.append(sum(len(arg) for arg in args if isinstance(arg, bytes)))
        return await self._scripts.run(script, *args)


async def test_what_piled_up_before_the_end_is_not_written_in_one_step(redis_at):
    async with replica(redis_at, tick_seconds=60) as broker, Provider(broker, "m", agents=BOT):
        thread = await make_thread(broker)
        store = broker.broker.store
        weighed = Weighed(store.turns._scripts)
        turns = Turns(weighed, store.replica.name, keep_ms=60_000, stale_ms=10_000, expire_ms=10_000)
        begun = await turns.begin(thread, "local", uuid.uuid4().hex, b'"role":"user","content":"q"}', personality=None, limit_bytes=1000)
        record = Record(turns, begun, hold_s=10, heard=lambda word: None)
        for number in range(40):
            record.event("text", b'{"text":"%s"}' % (b"%d" % number * 200_000))
        record.message(Kept(record.next_id, 1, 1, "assistant", Raw(b'"%s"' % (b"x" * 2 * MIB))))
        assert await record.end(b"", 10) == "ok"
        assert max(weighed.bytes) < 3 * MIB
        events = [number for number, _ in await redis_at.read(f"thread-events:{thread}:1")]
        assert events == [b"%d-0" % number for number in range(1, 41)]
        assert (await turn(broker, thread))["status"] == "complete" and len(await messages(broker, thread)) == 2


@pytest.mark.parametrize("goes_wrong", ["asked", "said"])
async def test_a_thread_of_turns_that_fail_does_not_grow_for_ever(redis_at, goes_wrong):
    broken = Script(status=500) if goes_wrong == "asked" else Script(tokens=2, token_bytes=750, break_after=1)
    size = 1500 if goes_wrong == "asked" else 750
    async with Backend(script=broken) as backend, replica(redis_at, max_request_bytes=4000, **HERE) as broker:
        await make_llm(broker, "gpt", backend.url)
        await make_agent(broker, "bot", "gpt")
        thread = await make_thread(broker)
        for number in range(1, 20):
            status, body, _ = await say(broker, thread, "x" * size, stream=goes_wrong == "said")
            if status == 413:
                break
        assert 5 < number < 12 and body["error"]["code"] == "thread_too_long" and "16,000" in body["error"]["message"]
        kept = await messages(broker, thread)
        assert sum(len(one["content"]) for one in kept) < 18_000 and (await thread_of(broker, thread))["running"] is None
        assert await redis_at.read(f"turns:{broker.broker.store.replica.name}") in (None, set())


async def test_a_turn_has_one_answer_whatever_its_agent_asks_for(redis_at):
    agents = [{**BOT[0], "defaultParams": {"n": 3, "stream_options": {"include_usage": True}}}]
    async with replica(redis_at) as broker, Provider(broker, "m", agents=agents) as provider:
        request = await ask(broker, provider, await make_thread(broker))
        assert not {"n", "stream_options"} & request.keys()
