"""``broker task`` and what ``get`` and ``describe`` tell of durable tasks: submitted, looked at, cancelled, tried anew, forgotten."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from broker.cli.api import Api, Where
from broker.cli.kinds import PLURAL
from broker.cli.rows import every
from tests.cli.running import json_lines, lines, ran, said, started
from tests.support.batches import create, ended
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, task, until
from tests.support.messages import chunk, completion
from tests.support.pools import make_pool
from tests.support.provider import Provider
from tests.support.threads import BOT, make_thread
from tests.support.tokens import tokens

ONCE = {**SOON, "job_attempts": 1}


async def submitted(broker, *words: str, **more) -> dict:
    """The task of a submission that succeeds."""
    told = await said(broker, "task", "submit", *words, **more)
    name, state = told.split()
    assert state == "queued"
    return await task(broker, name.removeprefix("task/"))


async def test_a_message_is_a_task_for_whoever_is_named(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m", aliases=["other"], agents=BOT) as provider:
        await make_pool(broker, "smart", "m")
        for words, stdin, model, content in (
            (("m", "hello"), "", "m", "hello"), (("other",), "by a pipe\n", "other", "by a pipe\n"), (("smart", "x"), "", "smart", "x"),
            (("bot", "x"), "", "agent/bot", "x"), (("llm/m", "x"), "", "m", "x"), (("agent/bot", "x"), "", "agent/bot", "x"),
        ):
            made = await submitted(broker, *words, stdin=stdin)
            assert (made["model"], made["priority"], made["streaming"]) == (model, "normal", False)
            frame = await provider.next()
            assert frame["request"]["messages"][-1] == {"role": "user", "content": content}
            await provider.answer(frame, completion(content="hi"))
            await until(broker, made["id"], "done")


async def test_a_request_comes_from_a_file_with_all_that_the_api_takes(redis_real, tmp_path):
    file, secret = tmp_path / "request.json", tmp_path / "secret"
    file.write_text('{"model": "m", "messages": [], "seed": 12345678901234567890}')
    secret.write_text("hush\n")
    async with replica(redis_real, **SOON, webhook_allow="127.0.0.0/8", secret_key="a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=") as broker, Provider(broker, "m") as provider:
        made = await submitted(broker, "-f", str(file), "--priority", "batch", "--deadline", "1.5h", "--key", "k",
                               "--webhook", "http://127.0.0.1:9/x", "--webhook-secret-file", str(secret))
        left = datetime.fromisoformat(made["deadline"]) - datetime.now(UTC)
        assert (made["priority"], made["webhook"]) == ("batch", {"state": "pending"}) and 5000 < left.total_seconds() <= 5400
        frame = await provider.next()
        assert frame["request"]["seed"] == 12345678901234567890
        await provider.answer(frame)
        yaml = await ran(broker, "task", "submit", "m", "-f", "-", "--operation", "embeddings", "--json", stdin="input: text\n")
        other = json.loads(yaml.out)
        assert other["state"] == "queued" and (await task(broker, other["id"]))["operation"] == "embeddings"
        again = await ran(broker, "task", "submit", "-f", str(file), "--key", "k")
        assert again.code == 1 and "Idempotency-Key" in again.err  # not the same submission
        await provider.answer(await provider.next())
        words = ("task", "submit", "m", "x", "--key", "l", "--deadline", "2131-01-31T12:00:00Z")
        first = await said(broker, *words)
        await provider.answer(await provider.next())
        await until(broker, first.split()[0].removeprefix("task/"), "done")
        assert await said(broker, *words) == first.replace("queued", "done")  # the same submission is the same task


@pytest.mark.parametrize(
    ("words", "stdin", "code", "why"),
    [
        (("nobody", "x"), "", 1, "there is no agent and no LLM 'nobody'; `broker get agents`"),
        (("mistrl", "x"), "", 1, "Near that name: 'mistral'"),
        (("mistral", "x", "--deadline", "2020-01-01T00:00:00Z"), "", 1, "The deadline is over already"),
        (("mistral", "x", "--deadline", "2131-01-01T00:00:00"), "", 1, "needs its time zone"),
        (("mistral",), " \n", 2, "stdin is empty; it is the message"),
        (("mistral",), b"\xff", 2, "stdin is not UTF-8"),
        (("-f", "-"), "{}", 1, "`model` is missing"),
        (("-f", "-"), "[1", 2, "stdin:1: is not JSON"),
        (("-f", "-"), '{"a": 1}\n{"a": 2}', 2, "must hold one request"),
        (("-f", "-"), "hello", 2, "must hold one request"),
    ],
)
async def test_what_cannot_be_submitted_is_said_and_what_to_do(redis_real, words, stdin, code, why):
    async with replica(redis_real) as broker, Provider(broker, "mistral"):
        done = await ran(broker, "task", "submit", *words, stdin=stdin)
        assert (done.code, done.out) == (code, "") and why in done.err and len(done.err.splitlines()) == 1, done
        assert json.loads(await said(broker, "get", "tasks", "--json")) == []


async def test_tasks_are_listed_by_state_in_pages_and_told_whole(redis_at):
    async with replica(redis_at, **ONCE) as broker, Provider(broker, "m", slots=9) as provider:
        good, lost, refused = [(await submit(broker))["id"] for _ in range(3)]
        frames = {frame["taskId"].partition(".")[0]: frame for frame in [await provider.next() for _ in range(3)]}
        await provider.answer(frames[good], completion(content="\n".join(f"line {n}" for n in range(12))))
        await provider.answer(frames[lost], {"error": {"message": "overloaded\x1b[2J"}}, status=500)
        await provider.answer(frames[refused], {"error": {"message": "no such tune"}}, status=400)
        for name, state in ((good, "done"), (lost, "dead"), (refused, "failed")):
            await until(broker, name, state)
        head, *found = lines(await said(broker, "get", "tasks"))
        assert head == ["ID", "STATE", "MODEL", "PRIORITY", "ATTEMPTS", "AGE", "ERROR"]
        assert [line[:5] for line in found] == [
            [name, state, "m", "normal", "1"] for name, state in ((refused, "failed"), (lost, "dead"), (good, "done"))
        ]
        assert await said(broker, "get", "tasks", "--state", "dead", "-o", "name") == f"task/{lost}\n"
        assert (await said(broker, "get", "tasks", "--limit", "2", "-o", "name")).split() == [f"task/{refused}", f"task/{lost}"]
        told = await said(broker, "describe", "task", good)
        assert "\nResult:               status 200, " in told and "\n  line 9\n  (2 more lines; `broker task follow" in told and "line 10" not in told
        told = await said(broker, "describe", "task", lost)
        (attempt,) = [line.split() for line in told.splitlines() if line.startswith("  1 ")]
        assert attempt[1] == "m" and attempt[4] == "500" and "\x1b" not in told and "\nError:" in told
        done = await ran(broker, "get", "tasks", "job_gone")
        assert done.code == 1 and done.err.startswith("broker: task/job_gone: There is no such task")


async def test_rows_that_come_in_pages_are_all_there_and_no_more_than_are_wanted(redis_real, tmp_path):
    async with replica(redis_real, **SOON, files_dir=str(tmp_path)) as broker, Provider(broker, "m", slots=9, agents=BOT) as provider:
        for _ in range(5):
            await submit(broker)
            await provider.answer(await provider.next(), {"error": {}}, status=400)
            await ended(broker, await create(broker, ""))
            await make_thread(broker)
        async with Api(Where(broker.url, None, 5)) as api:
            for plural in ("tasks", "batches", "threads"):
                kind = replace(PLURAL[plural], page=2)
                found = [row["id"] for row in await every(api, kind)]
                assert len(found) == len(set(found)) == 5, plural
                assert [row["id"] for row in await every(api, kind, most=3)] == found[:3]


async def test_watching_tasks_shows_their_states_and_not_that_newer_ones_came(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m", slots=2) as provider:
        old = (await submit(broker))["id"]
        async with started(broker, "get", "tasks", "-w", "--limit", "1", "--state", "running", NO_COLOR="1") as process:
            async with asyncio.timeout(15):
                assert (await process.stdout.readline()).split()[0] == b"ID"
                assert (await process.stdout.readline()).split()[:2] == [old.encode(), b"running"]
                new = (await submit(broker))["id"]
                assert (await process.stdout.readline()).split()[:2] == [new.encode(), b"running"]
                other, frame = [await provider.next() for _ in range(2)]
                await provider.answer(frame)
                # The older one, which went from the list and comes again, was never deleted.
                shown = [(await process.stdout.readline()).split() for _ in range(2)]
        assert sorted(line[:2] for line in shown) == sorted([[new.encode(), b"done"], [old.encode(), b"running"]])
        assert all(line[-1] != b"deleted" for line in shown)
        await provider.answer(other)


async def test_tasks_are_cancelled_tried_anew_and_forgotten(redis_real):
    async with replica(redis_real, **ONCE) as broker, Provider(broker, "m", slots=2) as provider:
        one, two = (await submit(broker))["id"], (await submit(broker))["id"]
        done = await ran(broker, "task", "cancel", f"task/{one}", "job_gone", two)
        assert (done.code, done.out) == (1, f"task/{one} cancelled\ntask/{two} cancelled\n") and done.err.startswith("broker: task/job_gone: There is no")
        await refuse_cancelled(provider, 2)
        lost = (await submit(broker))["id"]
        await provider.answer(await provider.next(), {"error": {"message": "x"}}, status=500)
        await until(broker, lost, "dead")
        assert await said(broker, "task", "cancel", lost) == f"task/{lost} is dead already, and stays so\n"
        dead = await said(broker, "get", "tasks", "--state", "dead", "-o", "name")
        (answer,) = json_lines(await said(broker, "task", "retry", *dead.split(), "--json"))
        assert answer["id"] == lost and answer["state"] in ("queued", "running") and answer["attempts"][0]["status"] == 500
        await provider.answer(await provider.next(), completion(content="well"))
        await until(broker, lost, "done")
        refused = await ran(broker, "task", "retry", lost)
        assert refused.code == 1 and refused.err == f"broker: task/{lost}: That task is done; one that is dead or failed can be tried again.\n"
        assert await said(broker, "task", "purge", "cancelled") == "2 cancelled tasks forgotten\n"
        assert await said(broker, "task", "purge", "done", "--json") == '{"deleted": 1}\n'
        assert await said(broker, "get", "tasks", "--json") == "[]\n"


async def test_a_result_is_printed_byte_for_byte(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m", slots=9) as provider:
        whole, stream, refused, runs = [(await submit(broker, request=request))["id"] for request in ({}, {"stream": True}, {}, {})]
        frames = {frame["taskId"].partition(".")[0]: frame for frame in [await provider.next() for _ in range(4)]}
        await provider.answer(frames[whole], {"n": 1, "é": "\x1b"})
        await provider.chunk(frames[stream], chunk(content="a"), seq=0)
        await provider.chunk(frames[stream], "[DONE]", done=True, seq=1)
        await provider.answer(frames[refused], {"error": "no"}, status=422)
        for name in (whole, stream, refused):
            await until(broker, name, "done", "failed")
        assert json.loads(await said(broker, "task", "result", whole)) == {"n": 1, "é": "\x1b"}
        assert await said(broker, "task", "result", f"task/{stream}") == f"data: {chunk(content='a')}\n\ndata: [DONE]\n\n"
        done = await ran(broker, "task", "result", refused)
        assert (done.code, json.loads(done.out), done.err) == (1, {"error": "no"}, "")
        done = await ran(broker, "task", "result", runs)
        assert (done.code, done.out) == (1, "")
        assert done.err == f"broker: task/{runs} is running and has no result yet; `broker task follow {runs}` waits for it\n"
        assert await said(broker, "task", "cancel", runs) == f"task/{runs} cancelled\n"
        done = await ran(broker, "task", "result", runs)
        assert done.code == 1 and "has no result" in done.err
        await refuse_cancelled(provider, 1)


async def test_others_tasks_are_not_there(redis_real):
    async with tokens(redis_real, ann="client", bob="client", pub="publisher") as made, replica(redis_real, **SOON) as broker:
        async with Provider(broker, "m", token=made.pub) as provider:
            name = (await ran(broker, "task", "submit", "m", "x", BROKER_TOKEN=made.ann)).out.split()[0]
            for words in (("task", "cancel", name), ("task", "result", name), ("describe", "task", name[5:]), ("task", "follow", name)):
                done = await ran(broker, *words, BROKER_TOKEN=made.bob)
                assert done.code == 1 and "There is no such task" in done.err, done
            await provider.answer(await provider.next(), completion(content="hi"))
            followed = await ran(broker, "task", "follow", name, BROKER_TOKEN=made.ann)
            assert (followed.code, followed.out) == (0, "hi\n"), followed


async def refuse_cancelled(provider: Provider, count: int) -> None:
    """Ends so many attempts, of which the publisher is told that they are cancelled."""
    while count:
        frame = await asyncio.wait_for(provider.frames.get(), 5)
        if frame["kind"] == "cancel":
            await provider.fail(frame, "cancelled", "cancelled")
            count -= 1
