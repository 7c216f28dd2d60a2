"""Results on a slow uplink: time for their size, then smaller calls, and nothing out of order."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest

from broker.wire import FrameAnswer
from publisher.link.batch import BatchLimit, Line
from publisher.link.client import Broker, TooSlow, Unavailable
from tests.publisher.running import play
from tests.publisher.test_uploads import Desk
from tests.support.fake_broker import FakeBroker

LINE = b'{"taskId":"t","seq":0,"status":200,"body":"%s"}'
KIB = 1024


@contextlib.asynccontextmanager
async def uplink(target: str, bytes_s: float):
    """An address that carries bytes to the target at a given pace; 0 is a line that is dead."""
    host, port = target.removeprefix("http://").split(":")
    lines: list[asyncio.Task] = []

    def accept(reader, writer):
        lines.append(asyncio.create_task(carry(reader, writer)))

    async def carry(reader, writer):
        there_reader, there = await asyncio.open_connection(host, int(port))

        async def back():
            while data := await there_reader.read(65536):
                writer.write(data)
            writer.close()

        returning = asyncio.create_task(back())
        try:
            while bytes_s and (data := await reader.read(16 * KIB)):
                await asyncio.sleep(len(data) / bytes_s)
                there.write(data)
            await returning
        finally:
            returning.cancel()
            await asyncio.gather(returning, return_exceptions=True)
            there.close()
            writer.close()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
    listener.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(accept, sock=listener, limit=16 * KIB):
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)


async def send(size: int, bytes_s: float, timeout_s: float, slowest_bytes_s: float) -> None:
    async with FakeBroker() as broker, aiohttp.ClientSession() as http, uplink(broker.url, bytes_s) as url:
        client = Broker(http, url, None, "i", timeout_s, slowest_bytes_s)
        answer = await client.results(LINE % (b"x" * size))
        assert [one.task_id for one in answer.results] == ["t"]


def test_results_have_longer_the_larger_they_are():
    play(send(512 * KIB, bytes_s=512 * KIB, timeout_s=0.3, slowest_bytes_s=64 * KIB))


@pytest.mark.parametrize("bytes_s", [0, 64 * KIB], ids=["a dead line", "a slow line"])
def test_results_that_do_not_arrive_in_the_time_for_their_size_were_too_slow(bytes_s):
    async def test():
        with pytest.raises(TooSlow):
            await send(256 * KIB, bytes_s, timeout_s=0.3, slowest_bytes_s=1024 * KIB)

    play(test())


def test_a_broker_that_waited_too_long_for_the_body_says_too_slow():
    async def test():
        async with FakeBroker() as broker, aiohttp.ClientSession() as http:
            broker.refuse["results"] = [(408, "the body did not arrive in time"), (503, "later")]
            client = Broker(http, broker.url, None, "i", 5)
            with pytest.raises(TooSlow, match="did not arrive"):
                await client.results(LINE % b"x")
            with pytest.raises(Unavailable) as busy:
                await client.results(LINE % b"x")
            assert not isinstance(busy.value, TooSlow)

    play(test())


def numbers(desk: Desk) -> list[list[int]]:
    return [[frame["seq"] for frame in post] for post in desk.posts]


def ten_frames(desk: Desk) -> None:
    out = desk.out()
    for n in range(10):
        out.events(f"data: {n}" + "x" * 70_000)  # beyond merging


def test_a_batch_that_was_too_slow_is_sent_again_in_parts_as_it_was_numbered():
    async def test():
        async with Desk(batch_bytes=4 << 20) as desk:
            desk.answers = [TooSlow("no answer in time"), TooSlow("no answer in time")]
            ten_frames(desk)
            await desk.uploader.flushed()
            assert numbers(desk) == [[*range(10)], [0, 1, 2, 3, 4], [0, 1, 2], [3, 4, 5, 6, 7], [8, 9]]
            assert desk.posts[0][:3] == desk.posts[2] and desk.posts[0][8:] == desk.posts[4]

    play(test())


def test_a_part_never_becomes_smaller_than_64_kib_or_one_frame():
    async def test():
        async with Desk() as desk:
            desk.answers = [TooSlow("no answer in time")] * 12
            ten_frames(desk)
            await desk.uploader.flushed()
            assert numbers(desk)[:5] == [[*range(10)], [0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [0]]
            delivered = [n for post in numbers(desk)[12:] for n in post]
            assert delivered == [*range(10)]

    play(test())


@pytest.mark.parametrize("status, sent", [(404, []), (422, [0])], ids=["gone", "malformed"])
def test_the_rest_of_a_task_that_ended_with_the_first_part_is_not_sent(status, sent):
    async def test():
        async with Desk() as desk:
            desk.answers = [TooSlow("no answer in time"), {0: FrameAnswer("t", status)}]
            ten_frames(desk)
            desk.out("other").answer(200, {}, b"x")
            await desk.uploader.flushed()
            assert len(desk.posts[1]) == 6
            assert [(f["taskId"], f["seq"]) for f in desk.posts[2]] == [("t", n) for n in sent] + [("other", 0)]
            assert sorted(desk.settled) == ["other", "t"]

    play(test())


def test_a_limit_below_the_floor_is_never_raised_by_slowness():
    limit = BatchLimit(1000)
    limit.too_slow([Line(None, None, b"x" * 200_000)])
    assert limit.bytes == 1000


def test_the_limit_grows_back_with_full_parts_only():
    limit, large, small = BatchLimit(4 << 20), Line(None, None, b"x" * (4 << 20)), Line(None, None, b"x")
    limit.too_slow([large])
    limit.too_slow([large])
    assert limit.bytes == 1 << 20
    limit.too_slow([small])
    limit.delivered([small])
    assert limit.bytes == 1 << 20
    for _ in range(5):
        limit.delivered([large])
    assert limit.bytes == 4 << 20


def test_a_lost_post_that_was_not_slow_keeps_its_size():
    async def test():
        async with Desk() as desk:
            desk.answers = [Unavailable("gone")]
            ten_frames(desk)
            await desk.uploader.flushed()
            assert numbers(desk) == [[*range(10)]] * 2

    play(test())


def test_after_a_gap_in_the_first_part_the_rest_still_comes_behind_it():
    async def test():
        async with Desk() as desk:
            gap = {n: FrameAnswer("t", 409, expected=1) for n in range(1, 5)}
            desk.answers = [TooSlow("no answer in time"), gap]
            ten_frames(desk)
            await desk.uploader.flushed()
            delivered = [n for post in numbers(desk)[2:] for n in post]
            assert delivered == [*range(1, 10)]

    play(test())
