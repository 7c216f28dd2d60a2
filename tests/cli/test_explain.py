"""``broker explain``: why a pool's request was answered by whom, as tables; and pools as the client shows and asks them."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cli.running import applied, command, did, environment, lines, ran, said
from tests.publisher.find.running import Typing
from tests.support.brokers import replica
from tests.support.conversing import stream_to
from tests.support.messages import chunk, completion
from tests.support.pools import make_pool
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import tokens


async def test_candidates_and_attempts_are_told_in_tables(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", slots=2) as first, Provider(broker, "b") as second:
        await make_pool(broker, "smart", "a", {"llm": "b", "tier": 1})
        run = asked(broker.chat("smart"))
        await first.answer(await first.next(), {"error": {"message": "full"}}, status=429)
        await second.answer(await second.next(), completion(content="hi"))
        status, _, headers = await run
        assert status == 200
        request = headers["X-Request-Id"]
        told = await said(broker, "explain", request)
        words = lines(told)
        assert words[:4] == [["Request:", request], ["Asked:", "smart", "(pool", "smart)"], ["Served", "by:", "b"], words[3]]
        one, two = (told.index(f"\nAttempt {n}: sent, ") for n in (1, 2))
        assert "Attempt 1: sent, a, least loaded; it failed: " in told and "Attempt 2: sent, b, least loaded\n" in told
        assert [line[:4] for line in lines(told[one:two]) if line[:1] == ["a"]] == [["a", "warm", "0", "0/2"]]
        assert [line[:3] for line in lines(told[two:]) if line[:1] == ["b"]] == [["b", "warm", "1"]]
        assert json.loads(await said(broker, "explain", request, "--json"))["servedBy"] == "b"
        done = await ran(broker, "explain", "req_gone")
        assert done.code == 1 and done.err.startswith("broker: There is no such request to a pool")


async def test_a_request_that_nobody_could_answer_is_explained_too(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "a", model="q", connect=False):
        status, _, headers = await broker.chat("q")
        told = await did(broker, "explain", headers["X-Request-Id"], FORCE_COLOR="1")
        assert status == 503 and "(model q)" in told and "Served by:            -" in told
        assert "Attempt 1: offline, nobody" in told and "\x1b[31maway" in told


async def test_a_pool_is_shown_with_who_is_in_it(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "gpu-1", "gpu-2", "other", model="q"):
        members = [{"llm": "gpu-2", "weight": 2.5}, {"selector": {"model": "q", "name": "gpu-*"}}, {"llm": "away", "tier": 1}]
        assert (await applied(broker, {"kind": "Pool", "name": "smart", "members": members}, {"kind": "Agent", "name": "a", "model": "smart"})).code == 0
        head, (name, count, stays, _) = lines(await said(broker, "get", "pools"))
        assert (head, name, count, stays) == (["NAME", "MEMBERS", "STAYS", "AGE"], "smart", "3", "yes")
        wide = await said(broker, "get", "pools", "-o", "wide")
        assert "gpu-2 weight 2.5, model=q name=gpu-*, away tier 1" in wide
        told = await said(broker, "describe", "pool", "smart")
        assert lines(told.partition("Llms:\n")[2]) == [
            ["NAME", "STATUS", "KIND", "TIER", "WEIGHT"], ["gpu-1", "active", "virtual", "0", "1"], ["gpu-2", "active", "virtual", "0", "2.5"],
            ["Agents:"], ["a"],
        ]
        await make_pool(broker, "empty", "nobody")
        assert "none fits its members just now" in await said(broker, "describe", "pool", "empty")


async def test_pools_are_for_admins_and_chat_and_completion_go_without(redis_real):
    async with tokens(redis_real, root="admin+client", app="client", pub="publisher") as made, replica(redis_real) as broker:
        async with Provider(broker, "m", token=made.pub) as provider:
            assert (await applied(broker, {"kind": "Pool", "name": "mine", "members": [{"llm": "m"}]}, BROKER_TOKEN=made.root)).code == 0
            done = await ran(broker, "get", "pools", BROKER_TOKEN=made.app)
            assert done.code == 1 and "admin" in done.err
            for token, names in ((made.app, ["m"]), (made.root, ["m", "mine"])):
                completed = await ran(broker, _BROKER_COMPLETE="bash_complete", COMP_WORDS="broker\nchat\nm", COMP_CWORD="2", BROKER_TOKEN=token)
                assert completed.out.split() == [f"plain,{name}" for name in names]
            run = asked(ran(broker, "chat", "mine", stdin="hello", BROKER_TOKEN=made.app))
            await stream_to(provider, await provider.next(), chunk(content="hi"), chunk("stop"))
            assert (await run).out == "hi\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")
async def test_in_a_chat_the_last_answer_is_explained(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=[{"name": "bot", "llmName": "m"}]) as provider:
        await make_pool(broker, "smart", "m")
        async with Typing(*command("chat", "smart"), env=environment(broker, TERM="dumb")) as screen:
            await screen.answer("> ", "/explain")
            await screen.until("broker: nothing was asked yet")
            await screen.answer("> ", "hello")
            await stream_to(provider, await provider.next(), chunk(content="hi"), chunk("stop"))
            await screen.until("hi")
            await screen.answer("> ", "/explain")
            await screen.until("(pool smart)")
            await screen.until("Attempt 1: sent, m, least loaded")
            await screen.answer("> ", "/exit")
            assert await screen.ended() == 0
        async with Typing(*command("chat", "bot", "--new"), env=environment(broker, TERM="dumb")) as screen:
            await screen.answer("> ", "/explain")
            await screen.until("broker: an agent's answers are not explained here")
