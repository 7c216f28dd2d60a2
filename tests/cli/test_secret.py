"""``broker secret set``: a value comes from a terminal that does not show it, from stdin or from a file, and is never said again."""

from __future__ import annotations

import sys

import pytest

from tests.cli.running import command, did, environment, lines, ran
from tests.publisher.find.running import Typing
from tests.support.brokers import Replica, replica
from tests.support.public import HERE
from tests.support.tokens import tokens

on_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")


async def kept(broker: Replica, name: str) -> str:
    """What the broker would send an upstream."""
    sealed = await broker.broker.store.secrets.read(name)
    return broker.broker.vault.open(name, *sealed)


@pytest.mark.parametrize("given", ["sk-1 2", "sk-1 2\n", "sk-1 2\r\n"])
async def test_a_piped_value_is_kept_without_its_line_end(redis_at, given):
    async with replica(redis_at, **HERE) as broker:
        assert await did(broker, "secret", "set", "stock", stdin=given) == "secret/stock set\n"
        assert await kept(broker, "stock") == "sk-1 2"


async def test_a_file_is_read_and_replaces_the_value_before(redis_real, tmp_path):
    async with replica(redis_real, **HERE) as broker:
        await did(broker, "secret", "set", "stock", stdin="old")
        (tmp_path / "key").write_text("new\n")
        assert await did(broker, "secret", "set", "stock", "--from-file", str(tmp_path / "key"), stdin="other") == "secret/stock set\n"
        assert await kept(broker, "stock") == "new"
        assert lines(await did(broker, "get", "secrets"))[1][0] == "stock"
        assert await did(broker, "delete", "secret", "stock") == "secret/stock deleted\n"


@on_a_terminal
async def test_on_a_terminal_it_is_asked_for_and_not_shown(redis_real):
    async with replica(redis_real, **HERE) as broker:
        async with Typing(*command("secret", "set", "stock"), env=environment(broker)) as screen:
            await screen.answer("Value of stock: ", "hush-hush")
            await screen.until("secret/stock set")
            assert await screen.ended() == 0 and "hush" not in screen.shown
        assert await kept(broker, "stock") == "hush-hush"


@on_a_terminal
async def test_an_interrupt_at_the_question_sets_nothing(redis_real):
    async with replica(redis_real, **HERE) as broker:
        async with Typing(*command("secret", "set", "stock"), env=environment(broker)) as screen:
            await screen.until("Value of stock: ")
            assert await screen.interrupted() == 130 and "Traceback" not in screen.shown
        assert await did(broker, "get", "secrets", "--json") == "[]\n"


async def test_a_value_is_no_argument(redis_real):
    async with replica(redis_real, **HERE) as broker:
        done = await ran(broker, "secret", "set", "stock", "sk-1")
        assert done.code == 2 and await did(broker, "get", "secrets", "--json") == "[]\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "broker: stdin is empty; it is the value"), (b"\n", "broker: stdin is empty; it is the value"),
        (b"hush" * 10_000, "broker: stdin is larger than 32 KiB: that is no key"), (b"hush\xff", "broker: stdin is no text"),
    ],
)
async def test_what_can_be_no_value_is_refused_without_repeating_it(given, said):
    done = await ran("http://127.0.0.1:9", "secret", "set", "stock", stdin=given)
    assert (done.code, done.out, done.err) == (2, "", said + "\n")


async def test_the_brokers_refusal_is_shown_and_does_not_repeat_the_value(redis_real):
    async with tokens(redis_real, app="client", root="admin") as made, replica(redis_real, **HERE) as broker:
        done = await ran(broker, "secret", "set", "stock", stdin="hush-hush", BROKER_TOKEN=made.app)
        assert done.code == 1 and "'admin'" in done.err and "hush" not in done.err
        done = await ran(broker, "secret", "set", "a/b", stdin="hush-hush", BROKER_TOKEN=made.root)
        assert done.code == 1 and "name" in done.err and "hush" not in done.err
        done = await ran(broker, "secret", "set", "stock", stdin="hush\nhush", BROKER_TOKEN=made.root)
        assert done.code == 1 and "printable ASCII" in done.err and "hush" not in done.err
