"""``broker task follow``: a durable task's states and words as they come, to its end, behind connections that break."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from click.testing import CliRunner

from broker.__main__ import main
from tests.cli.running import command, did, environment, json_lines, ran, said, started
from tests.publisher.find.running import Typing
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, task, until
from tests.support.messages import call_piece, chunk, completion
from tests.support.middlebox import Middlebox
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually

on_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")
STREAM = {"stream": True}


async def spoken(provider: Provider, *words: str) -> None:
    """The next attempt says those words, and ends well."""
    frame = await provider.next()
    for seq, word in enumerate(words):
        await provider.chunk(frame, chunk(content=word), seq=seq)
    await provider.chunk(frame, "[DONE]", done=True, seq=len(words))


async def test_piped_the_answer_of_the_attempt_that_counts_is_all_that_is_printed(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        run = asked(ran(broker, "task", "submit", "m", "hello", "--follow"))
        frame = await provider.next()
        assert frame["streaming"]
        await provider.chunk(frame, chunk(content="lost "), seq=0)
        await provider.fail(frame, "broke off")
        await spoken(provider, "once ", "thére\x1b")
        done = await run
        assert (done.code, done.out) == (0, "once thére\x1b\n"), done
        ((name,),) = [line.split() for line in done.err.splitlines()]
        assert await did(broker, "task", "follow", name) == "once thére\x1b\n"  # and again, when it has ended


async def test_a_whole_answer_and_one_without_words_are_printed_too(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        run = asked(ran(broker, "task", "submit", "-f", "-", "--follow", stdin='{"model": "m", "messages": [], "stream": false}'))
        await provider.answer(await provider.next(), completion(content="hi"))
        assert (await run).out == "hi\n"
        run = asked(ran(broker, "task", "submit", "m", "x", "--operation", "embeddings", "--follow"))
        await provider.answer(await provider.next(), {"data": [{"embedding": [0.5]}]})
        assert json.loads((await run).out) == {"data": [{"embedding": [0.5]}]}
        run = asked(ran(broker, "task", "submit", "m", "x", "--operation", "completions", "--follow"))
        frame = await provider.next()
        await provider.chunk(frame, json.dumps({"choices": [{"text": "done so"}]}), seq=0)
        await provider.chunk(frame, "[DONE]", done=True, seq=1)
        assert (await run).out == "done so\n" and frame["request"] == {"prompt": "x", "stream": True}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, "failed: the LLM answered 400: no such tune"),
        (500, "is dead after 1 attempts: "),
        (None, "was cancelled"),
    ],
)
async def test_an_end_without_an_answer_is_said_with_what_to_do(redis_real, status, why):
    async with replica(redis_real, **SOON, job_attempts=1) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker, request=STREAM))["id"]
        run = asked(ran(broker, "task", "follow", name))
        frame = await provider.next()
        if status is None:
            await did(broker, "task", "cancel", name)
            await provider.fail(await provider.next("cancel"), "cancelled", "cancelled")
        else:
            await provider.answer(frame, {"error": {"message": "no such tune"}}, status=status)
        done = await run
        assert (done.code, done.out) == (1, "") and done.err.startswith(f"broker: task/{name} {why}") and len(done.err.splitlines()) == 1, done
        assert status != 500 or f"`broker task retry {name}` tries it anew" in done.err


async def test_a_deadline_that_is_over_is_told_as_that(redis_real):
    async with replica(redis_real, **SOON) as broker:
        async with Provider(broker, "m"):
            pass
        await broker.until_status("m", "inactive")
        done = await ran(broker, "task", "submit", "m", "x", "--deadline", "0.2s", "--follow")
        assert done.code == 1 and "is dead" in done.err and "submit it again with more time" in done.err, done


async def test_as_json_every_event_is_a_line_and_any_of_them_can_be_gone_on_from(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker, request=STREAM))["id"]
        async with started(broker, "task", "follow", name, "--json") as process, asyncio.timeout(20):
            heard = json_lines((await process.stdout.readline()).decode())
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="a"), seq=0)
            for _ in range(2):  # they come live
                heard += json_lines((await process.stdout.readline()).decode())
            await provider.chunk(frame, "[DONE]", done=True, seq=1)
            out, err = await process.communicate()
            heard += json_lines(out.decode())
        assert (process.returncode, err) == (0, b"")
        assert [(one["id"], one["event"]) for one in heard[:2]] == [("0", "state"), ("1", "state")] and heard[-1]["id"] == "1-last"
        assert [one["data"] for one in heard[2:-1]] == [json.loads(chunk(content="a")), "[DONE]"] and heard[-1]["data"]["state"] == "done"
        for number, one in enumerate(heard):
            rest = json_lines(await said(broker, "task", "follow", name, "--json", "--after", one["id"]))
            assert [each["id"] for each in rest] == [each["id"] for each in heard[number + 1 :]]
        done = await ran(broker, "task", "follow", name, "--json", "--after", "x")
        assert done.code == 1 and "`after` is the id of an event" in done.err


async def test_a_connection_that_breaks_loses_and_repeats_nothing(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider, Middlebox(broker.url, idle_s=1.0) as box:
        name = (await submit(broker, request=STREAM))["id"]
        run = asked(ran(box.url, "task", "follow", name, "--json"))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="one "), seq=0)
        await eventually(lambda: box.cut, 10)
        await provider.chunk(frame, chunk(content="two"), seq=1)
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        done = await run
        ids = [one["id"] for one in json_lines(done.out)]
        assert done.code == 0 and len(ids) == len(set(ids)) == 6, done
        assert sum("/events" in line for line in box.asked) > 1


async def test_a_connection_that_says_nothing_any_more_is_left_for_another(redis_real, monkeypatch):
    monkeypatch.setattr("broker.cli.follow.SILENCE_S", 0.3)
    monkeypatch.setattr("broker.cli.follow.PAUSE_S", 0.01)
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider, Middlebox(broker.url) as box:
        name = (await submit(broker))["id"]
        run = asked(said(box, "task", "follow", name))
        await eventually(lambda: sum("/events" in line for line in box.asked) >= 3, 15)
        await provider.answer(await provider.next(), completion(content="hi"))
        assert await run == "hi\n"


async def test_a_broker_that_stays_away_is_said_once_and_given_up(redis_real, monkeypatch):
    monkeypatch.setattr("broker.cli.follow.TRIES", 3)
    monkeypatch.setattr("broker.cli.follow.PAUSE_S", 0.01)
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker))["id"]
        async with Middlebox(broker.url, idle_s=0.5) as box:
            env = {"BROKER_URL": box.url, "BROKER_TOKEN": None}
            done = await asyncio.to_thread(CliRunner().invoke, main, ["task", "follow", name], env=env)
        assert (done.exit_code, done.stdout) == (1, "")
        tried, given_up = done.stderr.splitlines()
        assert "it is tried again for a minute" in tried and given_up.startswith("broker: ")
        await provider.answer(await provider.next())


@on_a_terminal
async def test_on_a_terminal_states_and_words_come_as_they_do(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker, request=STREAM))["id"]
        async with Typing(*command("task", "follow", name), env=environment(broker, TERM="dumb")) as screen:
            await screen.until("attempt 1 runs")
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="lost \x1b[2J"), seq=0)
            await screen.until("lost \\x1b[2J")  # before the answer is over
            await provider.fail(frame, "broke off")
            await screen.until("attempt 1 ended with ")
            await screen.until("broke off; it is tried again")
            await screen.until("attempt 2 runs")
            await spoken(provider, "good")
            await screen.until("good")
            assert await screen.ended() == 0
            assert screen.shown.count("good") == 1


@on_a_terminal
async def test_what_a_lost_attempt_said_is_not_taken_for_the_answer(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker, request=STREAM))["id"]
        async with Typing(*command("task", "follow", name), env=environment(broker, TERM="dumb")) as screen:
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="lost"), seq=0)
            await screen.until("lost")
            await provider.fail(frame, "broke off")
            frame = await provider.next()
            await provider.chunk(frame, chunk(tool_calls=[call_piece(0, "call_1", "look", "{}")]), seq=0)
            await provider.chunk(frame, "[DONE]", done=True, seq=1)
            await screen.until('"name": "look"')  # an answer without words is shown as it came
            assert await screen.ended() == 0


@on_a_terminal
async def test_ctrl_c_ends_the_following_and_not_the_task(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        name = (await submit(broker, request=STREAM))["id"]
        async with Typing(*command("task", "follow", name), env=environment(broker, TERM="dumb")) as screen:
            await screen.until("attempt 1 runs")
            screen.type("\x03")
            await screen.until(f"task/{name} goes on; `broker task follow {name}` shows the rest")
            assert await screen.ended() == 130
        assert (await task(broker, name))["state"] == "running"
        await spoken(provider, "well")
        await until(broker, name, "done")
