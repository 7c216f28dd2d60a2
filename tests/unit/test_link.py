"""The lean connection to Redis, against a server of the test's making: order, loss, and never twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import hiredis
import pytest

from broker.errors import StoreUnavailable
from broker.store.endpoint import Endpoint
from broker.store.link import Link, ScriptMissing
from tests.support.waiting import eventually


class Server:
    """Answers each command by ``script(words)``: bytes, None for silence, or the connection's end."""

    def __init__(self, script):
        self.seen: list[list[bytes]] = []
        self.open: set[asyncio.Transport] = set()
        self.connections = 0
        self.script = script

    def connect(self) -> asyncio.Protocol:
        self.connections += 1
        return _Connection(self)


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server):
        self._server = server
        self._reader = hiredis.Reader()

    def connection_made(self, transport):
        self._transport = transport
        self._server.open.add(transport)

    def data_received(self, data):
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            self._server.seen.append(words)
            answer = self._server.script(words)
            if answer is ConnectionError:
                self._transport.abort()
                return
            if answer:
                self._transport.write(answer)

    def connection_lost(self, error):
        self._server.open.discard(self._transport)


@asynccontextmanager
async def link_to(script, *, timeout_s: float = 5.0, **login):
    server = Server(script)
    listening = await asyncio.get_running_loop().create_server(server.connect, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]

    async def find() -> Endpoint:
        return Endpoint(host="127.0.0.1", port=port, **login)

    link = Link(find, timeout_s=timeout_s)
    try:
        yield link, server
    finally:
        await link.close()
        listening.close()
        await eventually(lambda: not server.open)


def echo(words: list[bytes]) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(words[-1]), words[-1])


async def test_answers_come_in_the_order_of_the_commands():
    async with link_to(echo) as (link, server):
        asked = [b"%d" % number for number in range(200)]
        assert await asyncio.gather(*(link.call("ECHO", word) for word in asked)) == asked
        assert server.connections == 1


async def test_a_caller_that_was_cancelled_shifts_nobodys_answer():
    async with link_to(echo) as (link, _):
        await link.call("ECHO", "first")
        calls = [asyncio.create_task(link.call("ECHO", word)) for word in "abc"]
        await asyncio.sleep(0)
        calls[1].cancel()
        assert [await calls[0], await calls[2]] == [b"a", b"c"]


async def test_a_command_whose_answer_was_lost_is_not_sent_again():
    async with link_to(lambda words: ConnectionError) as (link, server):
        with pytest.raises(StoreUnavailable):
            await link.call("XADD", "s", "*", "a", "1")
        assert server.seen == [[b"XADD", b"s", b"*", b"a", b"1"]]


async def test_after_a_loss_the_next_call_connects_anew():
    answers = iter([ConnectionError, b"+PONG\r\n"])
    async with link_to(lambda words: next(answers)) as (link, server):
        with pytest.raises(StoreUnavailable):
            await link.call("PING")
        assert await link.call("PING") == b"PONG" and server.connections == 2


async def test_a_server_that_does_not_answer_is_given_up():
    async with link_to(lambda words: None, timeout_s=0.1) as (link, _):
        calls = [asyncio.create_task(link.call("PING")) for _ in range(3)]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await call


async def test_a_server_that_answers_slowly_but_steadily_is_not_given_up():
    async with link_to(echo, timeout_s=0.2) as (link, server):
        for _ in range(6):
            assert await link.call("ECHO", "x") == b"x"
            await asyncio.sleep(0.05)
        assert server.connections == 1


async def test_nobody_there_is_unavailable():
    async def find() -> Endpoint:
        return Endpoint(host="127.0.0.1", port=1)

    link = Link(find)
    with pytest.raises(StoreUnavailable):
        await link.call("PING")
    await link.close()


@pytest.mark.parametrize("word", ["OOM", "LOADING", "MISCONF", "READONLY", "MOVED 3 1.2.3.4:5", "CLUSTERDOWN", "BUSY", "NOAUTH"])
async def test_a_redis_that_cannot_now_is_unavailable(word):
    async with link_to(lambda words: b"-%s sorry\r\n" % word.encode()) as (link, _):
        with pytest.raises(StoreUnavailable):
            await link.call("SET", "a", "b")


async def test_an_error_within_a_script_that_says_out_of_memory_is_unavailable():
    async with link_to(lambda words: b"-ERR Error running script: OOM command not allowed\r\n") as (link, _):
        with pytest.raises(StoreUnavailable):
            await link.call("EVALSHA", "x", "0")


async def test_another_nodes_key_makes_the_link_look_again():
    answers = iter([b"-MOVED 1 10.0.0.1:1\r\n", b"+OK\r\n"])
    async with link_to(lambda words: next(answers)) as (link, server):
        with pytest.raises(StoreUnavailable):
            await link.call("SET", "a", "b")
        assert await link.call("SET", "a", "b") == b"OK" and server.connections == 2


async def test_an_unknown_script_is_told_apart():
    async with link_to(lambda words: b"-NOSCRIPT No matching script\r\n") as (link, _):
        with pytest.raises(ScriptMissing):
            await link.call("EVALSHA", "x", "0")


async def test_our_own_mistakes_are_no_outage():
    async with link_to(lambda words: b"-ERR wrong number of arguments\r\n") as (link, server):
        with pytest.raises(ValueError, match="wrong number"):
            await link.call("GET")
        assert server.connections == 1


async def test_what_is_no_redis_is_unavailable():
    async with link_to(lambda words: b"HTTP/1.1 400 Bad Request\r\n\r\n") as (link, _):
        with pytest.raises(StoreUnavailable):
            await link.call("PING")


async def test_it_logs_in_before_anything_else():
    async with link_to(lambda words: b"+OK\r\n", username="u", password="p", db=3) as (link, server):
        await link.call("PING")
        assert server.seen == [[b"AUTH", b"u", b"p"], [b"SELECT", b"3"], [b"PING"]]


async def test_a_refused_login_is_unavailable_and_does_not_show_the_password():
    async with link_to(lambda words: b"-WRONGPASS invalid\r\n", password="secret") as (link, _):
        with pytest.raises(StoreUnavailable) as refused:
            await link.call("PING")
        assert "secret" not in str(refused.value) and "WRONGPASS" in str(refused.value)


async def test_a_closed_link_makes_no_connection():
    async with link_to(echo) as (link, server):
        await link.close()
        with pytest.raises(StoreUnavailable):
            await link.call("PING")
        assert server.connections == 0
