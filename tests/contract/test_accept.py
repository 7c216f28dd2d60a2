"""Whether a publisher has a task: who is given it again by timer, and what ends that."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, stream


async def test_an_unaccepted_task_is_given_again_to_a_session_that_accepts(redis_at):
    async with replica(redis_at, accept_seconds=0.3) as broker, Provider(broker, "m", accepts=True) as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        again = await provider.next()
        assert again["taskId"] == frame["taskId"] and again["request"] == frame["request"]
        assert again["deadlineMs"] < frame["deadlineMs"]
        await provider.answer(frame)
        assert (await client)[0] == 200


@pytest.mark.parametrize("sign", ["accept", "accept frame", "chunk"])
async def test_an_accepted_task_is_not_given_again(redis_at, sign):
    async with replica(redis_at, accept_seconds=0.6) as broker, Provider(broker, "m", accepts=True) as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        if sign == "accept":
            assert (await provider.post(f"/_provider-task/{frame['taskId']}/accept"))[0] == 200
        elif sign == "accept frame":
            status, body, _ = await provider.results({"taskId": frame["taskId"], "accept": True})
            assert status == 200 and body["results"] == [{"taskId": frame["taskId"], "status": 200}]
        else:
            await provider.chunk(frame, "a")
        with pytest.raises(TimeoutError):
            await provider.next(limit_s=1.0)
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await client).status == 200


async def test_a_session_that_does_not_accept_is_never_given_a_task_again_by_timer(redis_at):
    async with replica(redis_at, accept_seconds=0.1) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        with pytest.raises(TimeoutError):
            await provider.next(limit_s=0.4)
        await provider.answer(frame)
        assert (await client)[0] == 200
