"""The canary: one token before anybody is let in."""

from publisher.config.values import Command
from tests.publisher.running import play, scene
from tests.support.backend import Script


def asleep(broker, backend):
    backend.up = False


TRUE = {"wake": Command("true"), "prepare": asleep, "canary": "chat", "timers": {"availability_s": 1000.0}}


def test_a_wake_ends_only_after_the_canary_was_answered():
    async def test():
        async with scene(**TRUE) as s:
            told = await s.broker.order("wake")
            s.backend.up = True
            await s.broker.ended(told)
            assert told.last["body"]["ok"] is True
            assert [one.path for one in s.backend.seen] == ["/v1/chat/completions"]
            assert b'"max_tokens":1' in s.backend.seen[0].body and b'"model":"real"' in s.backend.seen[0].body

    play(test())


def test_a_server_that_looks_up_and_cannot_answer_is_a_failed_wake_with_its_words():
    async def test():
        async with scene(script=Script(status=500), **TRUE) as s:
            told = await s.broker.order("wake")
            s.backend.up = True
            await s.broker.ended(told)
            assert "canary was answered with 500" in told.last["error"] and "scripted" in told.last["error"]
            assert s.publisher.status().rows[0].state == "hibernating"

    play(test())


def test_a_server_that_hangs_is_a_failed_wake():
    async def test():
        async with scene(**{**TRUE, "script": Script(hang="head"), "timers": {"availability_s": 1000.0, "canary_s": 0.1}}) as s:
            told = await s.broker.order("wake")
            s.backend.up = True
            await s.broker.ended(told)
            assert "no answer within 0.1 s" in told.last["error"]

    play(test())
