"""``broker chat``: typed on a terminal, or piped; with agents in threads, with LLMs without."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.cli.running import applied, command, did, environment, ran, started
from tests.publisher.find.running import Typing
from tests.support.brokers import Replica, replica
from tests.support.conversing import stream_to
from tests.support.library import make_project
from tests.support.messages import call_piece, chunk
from tests.support.middlebox import Middlebox
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.threads import BOT, KIND, THREADS, ask, make_thread, messages, said, thread_of, user
from tests.support.tokens import tokens
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually

on_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")
WEATHER = {"name": "weather", "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}}}


@asynccontextmanager
async def typing(broker: Replica | str, *words: str, **env: str) -> AsyncIterator[Typing]:
    async with Typing(*command("chat", *words), env=environment(broker, TERM="dumb", **env)) as screen:
        yield screen


async def threads(broker: Replica) -> list[dict]:
    return (await broker.call("GET", THREADS))[1]["data"]


async def spoken(provider: Provider, *texts: str, thought: str = "") -> dict:
    """The next request to the LLM, answered with these words."""
    frame = await provider.next()
    pieces = [chunk(reasoning_content=thought)] if thought else []
    await stream_to(provider, frame, *pieces, *(chunk(content=text) for text in texts), chunk("stop"))
    return frame["request"]


async def test_a_piped_message_is_answered_with_the_answer_only(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        run = asked(ran(broker, "chat", "bot", stdin="hello\n"))
        request = await spoken(provider, "hi ", "thére\x1b", thought="hm")
        assert request["messages"] == [KIND, user("hello\n")]
        done = await run
        assert (done.code, done.out, done.err) == (0, "hi thére\x1b\n", "")
        (thread,) = await threads(broker)
        run = asked(ran(broker, "chat", "bot", "--thread", thread["id"], stdin="and?"))
        request = await spoken(provider, "more")
        assert [one["content"] for one in request["messages"][1:]] == ["hello\n", "hi thére\x1b", "and?"]
        assert (await run).out == "more\n" and len(await threads(broker)) == 1


async def test_an_llm_is_asked_without_a_thread(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m/8b", aliases=["other"], agents=[{"name": "bot", "llmName": "m/8b"}]) as provider:
        for name in ("m/8b", "llm/m/8b", "other"):
            run = asked(ran(broker, "chat", name, stdin="hello"))
            assert (await spoken(provider, "hi"))["messages"] == [user("hello")]
            assert (await run).out == "hi\n"
        assert await threads(broker) == []
        run = asked(ran(broker, "chat", "agent/bot", stdin="hello"))
        await spoken(provider, "hi")
        assert (await run).code == 0 and len(await threads(broker)) == 1


async def test_a_refusal_is_one_line_and_nothing_is_printed(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        done = await ran(broker, "chat", "gone", stdin="x")
        assert (done.code, done.out) == (1, "") and done.err.startswith("broker: there is no agent and no LLM 'gone'")
        for name in ("bot", "m"):
            run = asked(ran(broker, "chat", name, stdin="x"))
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="half"))
            await provider.fail(frame, "the backend fell over")
            done = await run
            assert (done.code, done.out) == (1, "") and "fell over" in done.err and len(done.err.splitlines()) == 1, done
        assert (await ran(broker, "chat", "bot", stdin=" \n")).code == 2
        assert "stdin is not UTF-8" in (await ran(broker, "chat", "bot", stdin=b"\xff")).err
        done = await ran(broker, "chat", "m", "--personality", "x", stdin="x")
        assert done.code == 2 and "are for agents; 'm' is an LLM" in done.err
        thread = await make_thread(broker)
        await provider.register("m", agents=[*BOT, {"name": "two", "llmName": "m"}])
        done = await ran(broker, "chat", "two", "--thread", thread, stdin="x")
        assert done.code == 2 and "is with the agent 'bot', not with 'two'" in done.err
        done = await ran(broker, "chat", "bot", "--thread", "nothing", stdin="x")
        assert done.code == 1 and "nothing" in done.err
    done = await ran("http://127.0.0.1:9", "chat", "m", stdin="x")
    assert done.code == 1 and "nothing answers at http://127.0.0.1:9" in done.err


async def test_an_interrupted_question_is_cancelled(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        async with started(broker, "chat", "bot") as process:
            process.stdin.write(b"hello")
            process.stdin.close()
            frame = await provider.next()
            process.send_signal(2)
            await provider.next("cancel")
            await provider.fail(frame, "cancelled")
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (130, b"", b"")
        (thread,) = await threads(broker)
        assert thread["running"] is None


async def test_a_personality_is_taken_for_the_conversation(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        await applied(
            broker, {"kind": "Prompt", "name": "p", "content": "rhyme"}, {"kind": "Personality", "name": "poet", "prompts": ["p"]},
        )
        run = asked(ran(broker, "chat", "bot", "--personality", "poet", stdin="x"))
        assert "rhyme" in (await spoken(provider, "hi"))["messages"][0]["content"]
        assert (await run).code == 0
        done = await ran(broker, "chat", "bot", "--personality", "nobody", stdin="x")
        assert done.code == 1 and "nobody" in done.err


async def test_of_an_answer_with_tools_only_the_final_words_are_printed(redis_real):
    async with replica(redis_real) as broker, ToolProvider(broker, "home", llms=("m",), agents=[{**BOT[0], "project": "house"}]) as provider:
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        run = asked(ran(broker, "chat", "bot", stdin="how warm?"))
        await tool_round(provider)
        await spoken(provider, "It is hot.")
        done = await run
        assert (done.code, done.out) == (0, "It is hot.\n"), done


async def tool_round(provider: ToolProvider) -> None:
    """The LLM says something and calls the tool, which answers."""
    await provider.answer(await provider.next(), {"tools": [WEATHER]})
    named = call_piece(0, "call_1", "home__weather", '{"city": "Rome"}')
    await stream_to(provider, await provider.next(), chunk(content="Let me look."), chunk(tool_calls=[named]), chunk("tool_calls"))
    await provider.answer(await provider.next(), {"content": [{"type": "text", "text": "31\ndegrees"}]})


@on_a_terminal
async def test_a_conversation_is_typed_and_its_answers_stream(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider, typing(broker, "bot") as screen:
        await screen.answer("> ", "hello")
        frame = await provider.next()
        await provider.chunk(frame, chunk(reasoning_content="let me think"))
        await screen.until("let me think")
        await provider.chunk(frame, chunk(content="one "))
        await screen.until("\none ")  # before the answer is over
        await stream_to(provider, frame, chunk(content="two\x1b[2J"), chunk("stop"))
        await screen.until("two\\x1b[2J")
        await screen.answer("> ", "and?")
        request = await spoken(provider, "three")
        assert [one["content"] for one in request["messages"][1:]] == ["hello", "one two\x1b[2J", "and?"]
        await screen.until("three")
        await screen.answer("> ", "/new")
        await screen.answer("> ", "again")
        assert (await spoken(provider, "four"))["messages"] == [KIND, user("again")]
        await screen.until("four")
        await screen.answer("> ", "/help")
        await screen.until("/exit")
        await screen.answer("> ", "/what")
        await screen.until("/what is no command")
        await screen.answer("> ", "/exit")
        assert await screen.ended() == 0
        assert len(await threads(broker)) == 2


@on_a_terminal
async def test_an_llm_hears_what_was_said_before(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider, typing(broker, "m") as screen:
        await screen.answer("> ", "hello")
        await spoken(provider, "hi")
        await screen.until("hi")
        await screen.answer("> ", "and?")
        request = await spoken(provider, "more")
        assert [one["content"] for one in request["messages"]] == ["hello", "hi", "and?"]
        await screen.until("more")
        await screen.until("> ")
        screen.type("\x04")
        assert await screen.ended() == 0


@on_a_terminal
async def test_the_newest_thread_goes_on_with_what_was_said_unless_a_new_one_is_wanted(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        old, newest = await make_thread(broker), await make_thread(broker)
        await ask(broker, provider, old, "a", "first answer")
        await ask(broker, provider, newest, "b\nbb", "second answer")
        async with typing(broker, "bot") as screen:
            await screen.until(newest)
            await screen.until("> b\r\nbb\r\nsecond answer")
            await screen.until("> ")
            assert "first answer" not in screen.shown
        async with typing(broker, "bot", "--thread", old) as screen:
            await screen.until("first answer")
            await screen.answer("\n> ", "c")
            assert [one["content"] for one in (await spoken(provider, "d"))["messages"][1:]] == ["a", "first answer", "c"]
            await screen.until("d")
        async with typing(broker, "bot", "--new") as screen:
            await screen.answer("> ", "e")
            assert (await spoken(provider, "f"))["messages"] == [KIND, user("e")]
            await screen.until("f")
            assert "answer" not in screen.shown.split("e", 1)[0].replace("/help tells", "")


@on_a_terminal
async def test_ctrl_c_cancels_the_turn_and_not_the_program(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider, typing(broker, "bot") as screen:
        await screen.answer("> ", "hello")
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="one"))
        await screen.until("one")
        screen.type("\x03")
        await provider.next("cancel")
        await screen.until("cancelled")
        (thread,) = await threads(broker)
        assert said(await messages(broker, thread["id"])) == [(1, "user", "hello", "error"), (1, "assistant", "one", "error")]
        await provider.fail(frame, "cancelled")
        await screen.answer("> ", "again")
        assert (await spoken(provider, "two"))["messages"] == [KIND, user("again")]
        await screen.until("two")
        await screen.until("> ")
        await screen.interrupt("Ctrl-C again, or Ctrl-D, ends")
        await screen.until("> ")
        assert await screen.interrupted() == 0


@on_a_terminal
async def test_ctrl_c_before_the_first_word_cancels_as_well(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        for name in ("bot", "m"):
            async with typing(broker, name) as screen:
                await screen.answer("> ", "hello")
                frame = await provider.next()
                screen.type("\x03")
                await provider.next("cancel")
                await provider.fail(frame, "cancelled")
                await screen.until("cancelled")
                await screen.answer("> ", "/exit")
                assert await screen.ended() == 0
        (thread,) = await threads(broker)
        assert thread["running"] is None


@on_a_terminal
async def test_a_failed_turn_is_said_and_the_conversation_goes_on(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider, typing(broker, "bot") as screen:
        await screen.answer("> ", "hello")
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="half"))
        await screen.until("half")
        await provider.fail(frame, "the backend fell over")
        await screen.until("\nbroker: ")
        await screen.until("fell over")
        await screen.answer("> ", "again")
        await spoken(provider, "fine")
        await screen.until("fine")


@on_a_terminal
async def test_tool_calls_are_shown_dim(redis_real):
    async with replica(redis_real) as broker, ToolProvider(broker, "home", llms=("m",), agents=[{**BOT[0], "project": "house"}]) as provider:
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        async with typing(broker, "bot") as screen:
            await screen.answer("> ", "how warm?")
            await tool_round(provider)
            await spoken(provider, "It is hot.")
            await screen.until("Let me look.")
            await screen.until('  home__weather({"city": "Rome"})')
            await screen.until("  -> 31 degrees")
            await screen.until("It is hot.")
        (thread,) = await threads(broker)
        told = await did(broker, "describe", "thread", thread["id"], FORCE_COLOR="1")
        assert '\x1b[2m    home__weather({"city": "Rome"})\x1b[0m' in told and "\x1b[2m    -> 31 degrees" in told


async def test_a_connection_that_breaks_loses_nothing(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider, Middlebox(broker.url, idle_s=1.0) as box:
        async with typing(box.url, "bot") as screen:
            await screen.answer("> ", "hello")
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="one "))
            await screen.until("one ")
            await eventually(lambda: box.cut)
            await stream_to(provider, frame, chunk(content="two"), chunk("stop"))
            await screen.until("two")
            await screen.until("> ")
            assert screen.shown.count("one ") == 1
        assert any("/turns/1/events" in line for line in box.asked)
        (thread,) = await threads(broker)
        assert (await thread_of(broker, thread["id"]))["running"] is None


async def test_a_token_and_a_proxy_are_used(redis_real):
    async with tokens(redis_real, app="client", pub="publisher") as made, replica(redis_real) as broker:
        async with Provider(broker, "m", token=made.pub) as provider, Middlebox(broker.url, credentials="me:p%40ss") as box:
            proxy = f"http://me:p%40ss@127.0.0.1:{box.port}"
            words = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": "", "BROKER_TOKEN": made.app}
            run = asked(ran("http://broker.test", "chat", "m", stdin="hello", **words))
            await spoken(provider, "hi")
            assert (await run).out == "hi\n"
            assert all("http://broker.test/" in line for line in box.asked)
            before = len(box.asked)
            assert (await ran(broker, "get", "llms", **words)).code == 0  # this machine itself needs none
            assert len(box.asked) == before
            wrong = {**words, "HTTP_PROXY": proxy.replace("p%40ss", "hush"), "http_proxy": proxy.replace("p%40ss", "hush")}
            done = await ran("http://broker.test", "get", "llms", **wrong)
            assert done.code == 1 and "hush" not in done.err, done


async def test_readline_is_not_needed(redis_real):
    without = "import sys; sys.modules['readline'] = None\nfrom broker.__main__ import main\nmain(prog_name='broker')"
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        async with Typing(sys.executable, "-c", without, "chat", "m", env=environment(broker, TERM="dumb")) as screen:
            await screen.answer("> ", "hello")
            await spoken(provider, "hi")
            await screen.until("hi")
            await screen.answer("> ", "/exit")
            assert await screen.ended() == 0
