"""Tasks and what is counted of them: nothing is left over of one that ended before it began, or of a model that is gone."""

from __future__ import annotations

import asyncio
import json

from publisher.config.values import Config
from publisher.reload import Reload
from tests.publisher.review.edits import config_of, edit
from tests.publisher.running import play, scene
from tests.support.fake_broker import Told
from tests.support.waiting import eventually


def test_a_request_that_is_cancelled_in_the_same_breath_runs_no_more():
    async def test():
        async with scene() as s:
            told = s.broker.tasks["t"] = Told()
            infer = {"kind": "infer", "taskId": "t", "llmName": "m", "operation": "chat", "request": {"messages": []}}
            cancel = {"kind": "cancel", "taskId": "t", "reason": "the client went away"}
            await s.broker.raw("".join(f"data: {json.dumps(frame)}\n\n" for frame in (infer, cancel)).encode())
            assert (await s.broker.ended(told)).last["code"] == "cancelled"
            assert not s.publisher.activity.running and not s.backend.seen
            assert s.publisher.status().rows[0].requests == 1 and s.publisher.status().rows[0].failed == 0

    play(test())


def test_models_that_are_gone_leave_no_tally():
    async def test():
        async with scene() as s:
            await s.ask()
            for name in ("a", "b", "c"):
                await edit(s, next(iter(s.publisher.roster)).name, name=name)
                await s.broker.ended(await s.broker.infer({"messages": []}, llm=name))
            assert list(s.publisher.activity.tallies) == ["c"]

    play(test())


def test_the_last_row_that_goes_takes_its_work_along_and_a_new_one_is_served():
    async def test():
        async with scene() as s:
            told = await s.broker.infer({"messages": [], "script": {"hang": "head"}})
            await s.backend.until(lambda: s.backend.seen)
            provider = s.publisher.roster.get("m").provider
            await s.publisher.apply(config_of(s))
            await s.broker.until(lambda: s.broker.registrations[-1]["providers"] == [])
            told.unwanted = True
            await s.broker.send(kind="cancel", taskId=s.broker.id_of(told), reason="this LLM was unpublished")
            await eventually(lambda: s.backend.seen[0].aborted)
            await s.publisher.apply(config_of(s, provider))
            await s.broker.until(lambda: len(s.broker.registrations[-1]["providers"]) == 1)
            assert (await s.ask()).last["status"] == 200

    play(test())


def test_a_stop_does_not_wait_for_results_that_nobody_takes_any_more():
    async def test():
        async with scene(timers={"drain_s": 60.0}) as s:
            told = await s.broker.infer({"messages": [], "script": {"delay_s": 0.05}})
            await s.backend.until(lambda: s.backend.seen)
            s.broker.refuse["results"] = [(404, "unknown session")] * 1000
            await s.publisher.apply(config_of(s))
            await s.broker.until(lambda: "results" in s.broker.calls)
            s.publisher.stop()
            async with asyncio.timeout(20):
                assert await s.running == 0
            assert not told.ended

    play(test())


def test_an_edit_that_cannot_be_put_in_force_is_said_and_the_next_one_is(caplog):
    async def test():
        applied: list[Config] = []

        async def apply(config: Config) -> None:
            applied.append(config)
            if len(applied) == 1:
                raise OSError("no such device")

        errors: list[str] = []
        reload = Reload(lambda: (Config(), ()), [], apply, errors.append)
        assert "OSError" in await reload.now() and "OSError" in errors[-1]
        assert await reload.now() == "" and errors[-1] == "" and len(applied) == 2

    play(test())
    assert "no such device" in caplog.text


def test_an_edit_between_reading_a_file_and_the_next_look_is_not_missed(tmp_path):
    async def test():
        file = tmp_path / "config"
        file.write_text("one")
        read: list[str] = []

        def and_edit() -> tuple[Config, tuple]:
            read.append(file.read_text())
            if len(read) == 1:
                file.write_text("another one")
            return Config(), (file,)

        async def apply(config: Config) -> None:
            pass

        reload = Reload(and_edit, [file], apply, lambda wrong: None, every_s=0.01)
        reload.ask()
        task = asyncio.create_task(reload.run())
        await eventually(lambda: read[-1:] == ["another one"])
        task.cancel()
        await asyncio.wait([task])

    play(test())
