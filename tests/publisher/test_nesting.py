"""Requests that are nested deeper than any JSON reader goes: an answer, never the program's end."""

import logging

import msgspec
import pytest

from publisher.failures import TaskFailed
from publisher.work.infer import with_model
from tests.publisher.running import play, scene
from tests.support.fake_broker import Told

DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize("space", [b"", b" "], ids=["compact", "spaced"])
def test_a_frame_nested_too_deeply_is_answered_and_the_next_one_runs(space):
    async def test():
        async with scene() as s:
            told = s.broker.tasks["deep"] = Told()
            head = b'data: {"kind":"infer","taskId":"deep","llmName":"m","operation":"chat","streaming":false,'
            await s.broker.raw(head.replace(b'":', b'":' + space) + b'"request":{"messages":' + DEEP + b"}}\n\n")
            await s.broker.ended(told)
            assert told.last["error"] == "the request is nested too deeply"
            assert told.last["code"] == "invalid_request"
            assert (await s.ask()).last["status"] == 200
            assert s.broker.channels == 1 and not s.running.done()

    play(test())


def test_a_task_that_runs_is_not_ended_by_a_repeat_that_cannot_be_read():
    async def test():
        async with scene() as s:
            told = await s.broker.infer({"script": {"hang": "head"}})
            await s.backend.until(lambda: bool(s.backend.seen))
            task_id = s.broker.id_of(told).encode()
            await s.broker.raw(b'data: {"kind":"infer","taskId":"' + task_id + b'","request":' + DEEP + b"}\n\n")
            await s.ask()
            assert not told.ended

    play(test())


@pytest.mark.parametrize("frame", [
    b'{"kind":"infer","request":' + DEEP + b',"taskId":"late"}',
    b'{"kind":"infer","request":{"taskId":"inner","x":' + DEEP + b"}}",
    b'{"llmName":"\\"taskId\\":\\"inner\\"","x":' + DEEP + b"}",
], ids=["after the request", "inside the request", "inside a text"])
def test_a_frame_nested_too_deeply_that_names_no_task_is_skipped_with_a_log_line(frame, caplog):
    async def test():
        async with scene() as s:
            for name in ("late", "inner"):
                s.broker.tasks[name] = Told()
            await s.broker.raw(b"data: " + frame + b"\n\n")
            assert (await s.ask()).last["status"] == 200
            assert not s.broker.tasks["late"].frames and not s.broker.tasks["inner"].frames

    caplog.set_level(logging.INFO)
    play(test())
    assert "nested too deeply" in caplog.text


def test_a_fetched_request_nested_too_deeply_is_an_invalid_request():
    with pytest.raises(TaskFailed, match="nested too deeply") as failed:
        with_model(b'{"messages":' + DEEP + b"}", msgspec.Raw(b'"m"'))
    assert failed.value.code == "invalid_request"
