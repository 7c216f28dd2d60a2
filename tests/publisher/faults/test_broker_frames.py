"""A broker whose frames, and whose answers to ours, make no sense."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from tests.publisher.faults.side_by_side import STREAM, WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import BrokenBackend, two_words, well
from tests.support.broken_broker import BrokenBroker, endless
from tests.support.fake_broker import Told
from tests.support.waiting import eventually

QUICK = {"call_timeout_s": 0.3, "silence_s": 0.3}


# ── answers to single frames ────────────────────────────────────────────────


def per_frame(broker: BrokenBroker, task_id: str, **word: object):
    """Every frame of that task is answered so, those of others as usual."""

    async def fault(request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.read()).split(b"\n") if line]
        answers = [{"taskId": task_id, **word} if line["taskId"] == task_id else broker._frame(line) for line in lines]
        await broker.tell()
        return web.json_response({"results": answers})

    return fault


@pytest.mark.parametrize("expected", [0, 1, 5, -1])
def test_a_broker_that_always_misses_a_frame_ends_the_task_and_is_not_asked_for_ever(expected):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            told = await s.broken(WHOLE)
            broker.broken["results"] = per_frame(broker, broker.id_of(told), status=409, expected=expected)
            await broker.until(lambda: broker.spoiled("results") >= 2)
            await eventually(s.at_rest)
            await s.the_other_answers()
            assert broker.spoiled("results") < 20

    play(test())


@pytest.mark.parametrize("word", [{"status": 200}, {"status": 404}, {"status": 409}, {"status": 500}, {"status": -7},
                                  {"status": 200, "cancelled": True}], ids=str)
def test_any_answer_to_a_frame_lets_the_others_go_on(word):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(two_words) as backend, side_by_side(backend.url, broker=broker) as s:
            told = await s.broken(STREAM, deadlineMs=500)
            broker.broken["results"] = per_frame(broker, broker.id_of(told), **word)
            await broker.until(lambda: broker.spoiled("results") >= 1)
            await s.the_other_answers()
            await eventually(s.at_rest)
            await backend.until(lambda: not backend.busy)

    play(test())


# ── the channel's own bytes ─────────────────────────────────────────────────

FRAMES = {
    "half": b'data: {"kind": "infer", "taskId": "t9", "llmN',
    "not json": b"data: <html>\n\n",
    "no text": b'data: {"kind": "infer", "taskId": "\xff", "llmName": "\xff"}\n\n',
    "deadline": b'data: {"kind": "infer", "taskId": "z1", "llmName": "broken", "request": {}, "deadlineMs": 1' + b"0" * 400 + b"}\n\n",
    "long deadline": b'data: {"kind": "infer", "taskId": "z2", "llmName": "broken", "request": {}, "deadlineMs": 1' + b"0" * 40 + b"}\n\n",
    "negative deadline": b'data: {"kind": "infer", "taskId": "z3", "llmName": "broken", "request": {}, "deadlineMs": -5}\n\n',
    "no request": b'data: {"kind": "infer", "taskId": "z4", "llmName": "broken"}\n\n',
    "no id": b'data: {"kind": "infer", "llmName": "broken", "request": {}}\n\n',
    "wrong types": b'data: {"kind": "infer", "taskId": 7, "llmName": [], "request": {}}\n\n',
    "a list": b"data: [1, 2]\n\n",
    "no data": b"event: x\nid: 4\n\n\n\n: \n\n",
    "no operation": b'data: {"kind": "infer", "taskId": "z5", "llmName": "broken", "operation": "\\u0000/../x", "request": {}}\n\n',
    "request elsewhere": b'data: {"kind": "infer", "taskId": "z6", "llmName": "broken", "requestUrl": "http://169.254.169.254/"}\n\n',
    "cancel of nothing": b'data: {"kind": "cancel"}\n\n',
    "sleep of nothing": b'data: {"kind": "sleep", "taskId": "z7", "llmName": ""}\n\n',
}


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_that_makes_no_sense_harms_no_other(frame):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            for number in range(1, 8):
                broker.tasks[f"z{number}"] = Told()
            await broker.raw(FRAMES[frame])
            if frame == "half":
                before = broker.channels
                await broker.drop_channel()
                await broker.until(lambda: broker.channels > before and broker.channel_open)
            assert (await s.ends(WHOLE)).last["status"] == 200
            await s.the_other_answers()
            await eventually(s.at_rest)

    play(test())


def test_a_frame_without_end_costs_one_channel():
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            with_no_end = endless(200, "text/event-stream")
            broker.broken["stream"] = with_no_end
            before = broker.spoiled("stream")
            await broker.drop_channel()
            await broker.until(lambda: broker.spoiled("stream") >= before + 2)
            del broker.broken["stream"]
            await broker.ready()
            await s.the_other_answers()

    play(test())


def test_a_channel_that_turns_into_nonsense_is_opened_again():
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, timers=QUICK) as s:
            before = broker.channels
            broker._channel._req.transport.write(b"this is no chunk\r\n")
            await broker.until(lambda: broker.channels > before)
            await broker.ready()
            await s.the_other_answers()

    play(test())


def test_a_broker_that_wants_to_be_left_alone_for_a_year_is_asked_before_that():
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            before = broker.channels
            await broker.send(kind="shutdown", retryMs=365 * 24 * 3600 * 1000)
            await broker.until(lambda: broker.channels > before)
            await s.the_other_answers()

    play(test())
