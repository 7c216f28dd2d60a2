"""The session's life: registration, channel, heartbeat, loss and return, stopping."""

import asyncio
import json
import logging
import stat

import pytest

from broker import wire
from tests.publisher.running import play, scene
from tests.support.backend import Script


def test_a_registration_says_everything_but_the_recipe_the_address_and_the_key():
    async def test():
        agent = wire.AgentEntry("helper", "m", system_prompt="Be brief.")
        told = dict(tier="heavy", description="d", extra_config={"a": 1}, slots=3, api_key="sk-secret")
        async with scene(agents=(agent,), **told) as s:
            said = s.broker.registrations[0]
            assert said["replace"] and said["accepts"] and "providerSessionId" not in said or not said["providerSessionId"]
            assert said["providers"] == [{
                "name": "m", "type": "openai", "model": "real", "tier": "heavy", "description": "d",
                "extraConfig": {"a": 1}, "initialStatus": "active", "slots": 3,
            }]
            assert said["agents"] == [{"name": "helper", "llmName": "m", "systemPrompt": "Be brief."}]
            assert s.broker.headers[0]["Authorization"] == "Bearer secret-token"

    play(test())


def test_the_session_is_presented_again_and_the_instance_is_new(tmp_path):
    async def test():
        file = tmp_path / "state" / "session.json"
        async with scene(session_file=file) as s:
            assert await s.stopped() == 0
        assert json.loads(file.read_text()) == {"providerSessionId": "s1"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        async with scene(session_file=file) as again:
            assert again.broker.registrations[0]["providerSessionId"] == "s1"
            assert again.broker.headers[-1]["X-Provider-Session"] == "s1"
            assert again.broker.instances.isdisjoint(s.broker.instances)

    play(test())


def test_a_session_of_someone_else_is_forgotten_once(tmp_path):
    async def test():
        file = tmp_path / "session.json"
        file.write_text('{"providerSessionId": "stolen"}')

        def foreign(broker, backend):
            broker.refuse["register"] = [(404, "no such session")]

        async with scene(session_file=file, prepare=foreign) as s:
            assert [r.get("providerSessionId") for r in s.broker.registrations] == ["stolen", None]
            assert json.loads(file.read_text())["providerSessionId"] == s.broker.session

    play(test())


def test_a_refused_first_registration_is_an_error_and_not_a_loop(caplog):
    async def test():
        def refusing(broker, backend):
            broker.refuse["register"] = [(409, '"m" is held by another session')]

        async with scene(prepare=refusing, wait_ready=False) as s:
            assert await s.running == 1
            assert s.broker.calls == ["register"]

    caplog.set_level(logging.INFO)
    play(test())
    assert '"m" is held by another session' in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_broker_that_is_not_ready_is_asked_again(status):
    async def test():
        def busy(broker, backend):
            broker.refuse["register"] = [(status, "later"), (status, "later")]

        async with scene(prepare=busy) as s:
            assert s.broker.calls[:3] == ["register"] * 3

    play(test())


def test_it_stops_while_it_still_waits_for_the_broker():
    async def test():
        def busy(broker, backend):
            broker.refuse["register"] = [(503, "later")] * 1000

        async with scene(prepare=busy, wait_ready=False) as s:
            await s.broker.until(lambda: len(s.broker.calls) > 1)
            assert await s.stopped() == 0

    play(test())


def test_heartbeats_come_at_the_broker_s_pace():
    async def test():
        async with scene(heartbeat_s=0.01) as s:
            await s.broker.until(lambda: s.broker.calls.count("heartbeat") >= 3)

    play(test())


@pytest.mark.parametrize("call", ["heartbeat", "stream"])
def test_a_forgotten_session_is_registered_again_and_the_channel_reopened(call):
    async def test():
        def forgetful(broker, backend):
            broker.refuse[call] = [(404, "no such session")]

        async with scene(heartbeat_s=0.05, prepare=forgetful) as s:
            await s.broker.until(lambda: len(s.broker.registrations) == 2)
            assert s.broker.registrations[1]["providerSessionId"] == "s1"
            await s.broker.until(lambda: s.broker.channels == (2 if call == "heartbeat" else 1))
            assert (await s.ask()).last["status"] == 200

    play(test())


def test_a_token_revoked_later_is_no_reason_to_leave():
    async def test():
        async with scene(heartbeat_s=0.01) as s:
            s.broker.refuse["heartbeat"] = [(401, "revoked")] * 3
            s.broker.refuse["stream"] = [(401, "revoked")] * 3
            await s.broker.drop_channel()
            await s.broker.until(lambda: s.broker.channels == 2)
            assert not s.running.done()

    play(test())


def test_running_tasks_go_on_while_the_channel_is_away():
    async def test():
        async with scene() as s:
            told = await s.broker.infer({"stream": True, "script": {"tokens": 30, "delay_s": 0.01}})
            await s.broker.until(lambda: "tök€n1" in told.text)
            await s.broker.drop_channel()
            await s.broker.until(lambda: s.broker.channels == 2)
            await s.broker.ended(told)
            assert len(told.payloads) == 31 and len(s.backend.seen) == 1

    play(test())


def test_a_channel_that_is_lost_again_and_again_is_reopened_soon_while_tasks_run():
    async def test():
        async with scene(timers={"retry_first_s": 10_000, "retry_most_s": 10_000}) as s:
            told = await s.broker.infer({"script": {"hang": "head"}})
            await s.broker.until(lambda: told.accepted)
            for number in (2, 3, 4):
                await s.broker.drop_channel()
                await s.broker.until(lambda number=number: s.broker.channels == number)

    play(test())


def test_a_heartbeat_that_the_broker_answers_ends_the_pause_before_the_next_channel():
    async def test():
        async with scene(heartbeat_s=0.05, timers={"retry_first_s": 10_000, "retry_most_s": 10_000}) as s:
            for number in (2, 3, 4):
                s.broker.refuse["stream"] = [(503, "not yet")] * 2
                await s.broker.drop_channel()
                await s.broker.until(lambda number=number: s.broker.channels == number)

    play(test())


def test_no_heartbeat_hurries_a_channel_that_the_broker_refused():
    async def test():
        async with scene(heartbeat_s=0.02, timers={"slow_retry_s": 10_000}) as s:
            s.broker.refuse["stream"] = [(401, "revoked")]
            await s.broker.drop_channel()
            await s.broker.until(lambda: not s.broker.refuse["stream"])
            beats = s.broker.calls.count("heartbeat")
            await s.broker.until(lambda: s.broker.calls.count("heartbeat") >= beats + 10)
            assert s.broker.calls.count("stream") == 2

    play(test())


def test_no_heartbeat_hurries_a_channel_for_which_the_broker_named_the_pause():
    async def test():
        async with scene(heartbeat_s=0.02, timers={"slow_retry_s": 10_000}) as s:
            await s.broker.send(kind="shutdown", retryMs=10_000_000)
            await s.broker.until(lambda: not s.broker.channel_open)
            beats = s.broker.calls.count("heartbeat")
            await s.broker.until(lambda: s.broker.calls.count("heartbeat") >= beats + 10)
            assert s.broker.calls.count("stream") == 1

    play(test())


def test_a_task_given_again_on_the_new_channel_is_not_run_twice():
    async def test():
        async with scene() as s:
            told = await s.broker.infer({"stream": True, "script": {"tokens": 30, "delay_s": 0.01}})
            await s.broker.until(lambda: "tök€n1" in told.text)
            await s.broker.drop_channel()
            await s.broker.until(lambda: s.broker.channels == 2)
            await s.broker.send(kind="infer", taskId=s.broker.id_of(told), llmName="m", request={}, streaming=True)
            await s.broker.ended(told)
            assert len(s.backend.seen) == 1

    play(test())


def test_a_silent_channel_is_given_up():
    async def test():
        async with scene(timers={"silence_s": 0.1}) as s:
            await s.broker.until(lambda: s.broker.channels >= 2)

    play(test())


def test_a_broker_that_shuts_down_is_reconnected_to():
    async def test():
        async with scene() as s:
            await s.broker.send(kind="shutdown", retryMs=20)
            await s.broker.until(lambda: s.broker.channels == 2)
            assert (await s.ask()).last["status"] == 200

    play(test())


def test_a_superseded_publisher_stops_with_an_error_that_names_the_session_file(caplog, tmp_path):
    async def test():
        async with scene(session_file=tmp_path / "mine.json") as s:
            await s.broker.send(kind="superseded")
            assert await s.running == 3
            assert s.broker.channels == 1 and "goodbye" not in s.broker.calls

    play(test())
    assert "another publisher uses this session" in caplog.text and "mine.json" in caplog.text


def test_unknown_kinds_and_unreadable_frames_are_skipped():
    async def test():
        async with scene() as s:
            await s.broker.send(kind="from-the-future", taskId="x", extra=[1])
            await s.broker.raw(b"data: {broken\n\n: comment\n\n")
            assert (await s.ask()).last["status"] == 200

    play(test())


def test_stopping_says_goodbye_first_and_lets_work_finish():
    async def test():
        async with scene(heartbeat_s=0.01) as s:
            told = await s.broker.infer({"stream": True, "script": {"tokens": 20, "delay_s": 0.01}})
            await s.broker.until(lambda: "tök€n0" in told.text)
            s.publisher.stop()
            await s.broker.until(lambda: "goodbye" in s.broker.calls)
            late = await s.broker.ended(await s.broker.infer({}))
            assert late.last["code"] == "publisher_offline"
            assert await s.running == 0
            assert told.payloads[-1] == "[DONE]" and len(told.payloads) == 21
            assert "heartbeat" not in s.broker.calls[s.broker.calls.index("goodbye") + 2:]
            assert s.broker.channels == 1

    play(test())


def test_work_beyond_the_drain_time_ends_with_an_error():
    async def test():
        async with scene(script=Script(hang="head"), timers={"drain_s": 0.05}) as s:
            told = await s.broker.infer({})
            await s.backend.until(lambda: len(s.backend.seen) == 1)
            assert await s.stopped() == 0
            assert told.last["code"] == "publisher_offline"
            await s.backend.until(lambda: s.backend.seen[0].aborted)

    play(test())


def test_a_second_signal_stops_at_once_and_still_says_so():
    async def test():
        async with scene(script=Script(hang="head"), timers={"drain_s": 1000}) as s:
            told = await s.broker.infer({})
            await s.backend.until(lambda: len(s.backend.seen) == 1)
            s.publisher.stop()
            await s.broker.until(lambda: "goodbye" in s.broker.calls)
            s.publisher.stop()
            assert await asyncio.wait_for(s.running, 3) == 0
            assert told.last["code"] == "publisher_offline"

    play(test())


def test_a_cancel_for_a_task_that_never_arrived_gets_its_last_word():
    async def test():
        async with scene() as s:
            told = await s.broker.order("cancel")
            await s.broker.ended(told)
            assert told.last["code"] == "cancelled" and "seq" not in told.last

    play(test())
