"""The uploader: batches, order, repeats and what it does about the broker's answers."""

import asyncio
import json
import time

from broker.wire import FrameAnswer, ResultsAnswer
from publisher.link.backoff import Backoff
from publisher.link.client import Refused, Unavailable
from publisher.link.outgoing import Outgoing
from publisher.link.uploads import Uploader
from tests.publisher.running import play


class Desk:
    """Takes posts in; ``answers`` says what to do with the next ones, then everything is fine."""

    def __init__(self, **limits: int) -> None:
        self.posts: list[list[dict]] = []
        self.answers: list = []
        self.settled: list[str] = []
        self.unknown = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.uploader = Uploader(self.post, self.session_unknown, self.settled.append, Backoff(0.001, 0.005), **limits)

    async def post(self, lines: bytes) -> ResultsAnswer:
        frames = [json.loads(line) for line in lines.split(b"\n")]
        self.posts.append(frames)
        self.arrived.set()
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        made = [FrameAnswer(frame["taskId"], 200) for frame in frames]
        for number, change in (answer or {}).items():
            made[number] = change
        return ResultsAnswer(made)

    async def session_unknown(self) -> None:
        self.unknown += 1

    def out(self, task_id: str = "t", give_up_s: float = 60) -> Outgoing:
        return Outgoing(task_id, self.uploader, time.monotonic() + give_up_s)

    async def __aenter__(self):
        self.loop = asyncio.create_task(self.uploader.run())
        return self

    async def __aexit__(self, *_):
        self.gate.set()
        self.loop.cancel()
        await asyncio.wait([self.loop])


def test_the_first_frame_leaves_at_once_and_the_rest_piles_up_behind_it():
    async def test():
        async with Desk() as desk:
            desk.gate.clear()
            out, other = desk.out("a"), desk.out("b")
            out.head(200, {})
            await desk.arrived.wait()
            for n in range(5):
                out.events(f"data: {n}\n\n")
                other.events(f"data: {n}\n\n")
            out.events("data: [DONE]\n\n", done=True)
            desk.gate.set()
            await desk.uploader.flushed()
            assert [len(post) for post in desk.posts] == [1, 2]
            a, b = desk.posts[1]
            assert a["seq"] == 1 and a["chunk"]["done"]
            assert a["chunk"]["events"] == "".join(f"data: {n}\n\n" for n in range(5)) + "data: [DONE]\n\n"
            assert b["seq"] == 0 and "done" not in b["chunk"]
            assert desk.settled == ["a"]

    play(test())


def test_a_lost_post_is_repeated_as_it_was():
    async def test():
        async with Desk() as desk:
            desk.answers = [Unavailable("gone"), Unavailable("gone")]
            out = desk.out()
            out.head(200, {})
            await desk.arrived.wait()
            out.events("data: x\n\n")
            await desk.uploader.flushed()
            assert desk.posts[0] == desk.posts[1] == desk.posts[2]
            assert desk.posts[3][0]["seq"] == 1

    play(test())


def test_frames_are_given_up_after_their_time():
    async def test():
        async with Desk() as desk:
            desk.answers = [Unavailable("gone")] * 1000
            late = desk.out("late", give_up_s=0.02)
            late.answer(200, {}, b"x")
            await desk.uploader.flushed()
            assert desk.settled == ["late"] and late.ended

    play(test())


def test_a_post_is_bounded_and_order_is_kept():
    async def test():
        async with Desk(batch_bytes=1000) as desk:
            desk.gate.clear()
            out = desk.out()
            for n in range(10):
                out.events(str(n) * 70_000)  # beyond merging
            desk.gate.set()
            await desk.uploader.flushed()
            assert [frame["seq"] for post in desk.posts for frame in post] == list(range(10))
            assert all(len(post) == 1 for post in desk.posts)

    play(test())


def test_a_task_that_nobody_wants_is_stopped_and_its_frames_are_dropped():
    async def test():
        async with Desk() as desk:
            desk.answers = [{0: FrameAnswer("t", 404)}]
            out, stops = desk.out(), []
            out.stop = lambda message, code: stops.append(code)
            out.head(200, {})
            await desk.uploader.flushed()
            out.events("data: x\n\n")
            out.error("late", "late")
            await asyncio.sleep(0)
            assert stops == ["gone"] and len(desk.posts) == 1 and desk.settled == ["t"]

    play(test())


def test_a_gap_is_filled_when_the_frame_is_still_held():
    async def test():
        async with Desk() as desk:
            desk.answers = [{1: FrameAnswer("t", 409, expected=1), 2: FrameAnswer("t", 409, expected=1)}]
            out = desk.out()
            out.head(200, {})
            out.events("data: " + "x" * 70_000)
            out.events("data: [DONE]\n\n", done=True)
            await desk.uploader.flushed()
            assert [[frame["seq"] for frame in post] for post in desk.posts] == [[0, 1, 2], [1, 2]]
            assert desk.settled == ["t"]

    play(test())


def test_a_gap_that_cannot_be_filled_ends_the_task_with_an_error():
    async def test():
        async with Desk() as desk:
            out, stops = desk.out(), []
            out.stop = lambda message, code: stops.append(code)
            out.head(200, {})
            await desk.uploader.flushed()
            desk.answers = [{0: FrameAnswer("t", 409, expected=0)}]
            out.events("data: x\n\n")
            await desk.uploader.flushed()
            assert stops == ["publisher_error"]
            assert desk.posts[-1][0]["seq"] == 0 and desk.posts[-1][0]["code"] == "publisher_error"
            assert desk.settled == ["t"]

    play(test())


def test_a_forgotten_session_is_registered_again_and_the_frames_are_offered_once_more():
    async def test():
        async with Desk() as desk:
            desk.answers = [Refused(404, "no such session", "unknown_session"), {0: FrameAnswer("t", 404)}]
            desk.out().answer(200, {}, b"x")
            await desk.uploader.flushed()
            assert desk.unknown == 1 and desk.posts[0] == desk.posts[1] and desk.settled == ["t"]

    play(test())


def test_one_frame_that_the_broker_cannot_take_does_not_hold_up_the_others():
    async def test():
        async with Desk() as desk:
            too_large = Refused(413, "too large")
            desk.answers = [too_large, too_large]
            desk.out("big").answer(200, {}, b"x")
            desk.out("small").answer(200, {}, b"y")
            await desk.uploader.flushed()
            last = {frame["taskId"]: frame for post in desk.posts for frame in post}
            assert "too large" in last["big"]["error"] and last["big"]["seq"] == 0
            assert last["small"]["body"] == "y"
            assert sorted(desk.settled) == ["big", "small"]

    play(test())


def test_too_much_pending_holds_back_whoever_asks_for_room():
    async def test():
        async with Desk(crowded_bytes=1000) as desk:
            desk.gate.clear()
            out = desk.out()
            out.head(200, {})
            await desk.arrived.wait()
            out.events("x" * 2000)
            assert out.crowded
            waiting = asyncio.create_task(out.room())
            await asyncio.sleep(0)
            assert not waiting.done()
            desk.gate.set()
            await asyncio.wait_for(waiting, 5)

    play(test())


def test_an_accept_carries_no_number_and_comes_only_before_anything_else():
    async def test():
        async with Desk() as desk:
            out = desk.out()
            out.accept()
            out.answer(200, {"a": "b"}, b"x")
            out.accept()
            await desk.uploader.flushed()
            frames = [frame for post in desk.posts for frame in post]
            assert frames == [{"taskId": "t", "accept": True},
                              {"taskId": "t", "seq": 0, "status": 200, "headers": {"a": "b"}, "body": "x"}]

    play(test())


def test_a_frame_that_is_called_malformed_ends_its_task_with_an_error():
    async def test():
        async with Desk() as desk:
            desk.answers = [{0: FrameAnswer("t", 422)}]
            desk.out().answer(200, {}, b"x")
            await desk.uploader.flushed()
            assert desk.posts[-1][0]["code"] == "publisher_error" and desk.settled == ["t"]

    play(test())


def test_a_call_never_holds_more_frames_than_a_broker_takes():
    async def test():
        async with Desk() as desk:
            desk.gate.clear()
            for n in range(2500):
                desk.out(f"t{n}").answer(200, {}, b"x")
            desk.gate.set()
            await desk.uploader.flushed()
            assert max(len(post) for post in desk.posts) == 1000
            assert len(desk.settled) == 2500

    play(test())
