"""The step ``wake-on-lan``: the packet as a sleeping machine sees it."""

import asyncio
import contextlib
import socket

import pytest

from publisher.config.values import WakeOnLan
from publisher.failures import RecipeFailed
from publisher.recipes.wake_on_lan import hardware_address, wake_on_lan

MAC = bytes([0x00, 0x11, 0x22, 0xAA, 0xBB, 0xCC])


@contextlib.contextmanager
def listening():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        yield heard, heard.getsockname()[1]


def test_the_packet_is_sent_three_times(play):
    async def test():
        with listening() as (heard, port):
            await wake_on_lan(WakeOnLan("00:11:22:aa:bb:cc", "127.0.0.1", port))
            for _ in range(3):
                assert heard.recv(1000) == b"\xff" * 6 + MAC * 16
            with pytest.raises(BlockingIOError):
                heard.recv(1000)

    play(test())


def test_a_real_broadcast_may_be_sent(play):
    async def test():
        with listening() as (_, port):
            await wake_on_lan(WakeOnLan("00:11:22:aa:bb:cc", "127.255.255.255", port))

    play(test())


@pytest.mark.parametrize("mac", ["00:11:22:aa:bb:cc", "00-11-22-AA-BB-CC", "0011.22aa.BBCC"])
def test_the_usual_forms_of_an_address_are_known(mac):
    assert hardware_address(mac) == MAC


@pytest.mark.parametrize(
    "mac", ["", "00:11:22:aa:bb", "00:11:22:aa:bb:cc:dd", "00:11-22:aa:bb:cc", "00:11:22:aa:bb:cg", "001122aabbcc\n",
            "00:11:22:aa:bb:cc\n", " 00:11:22:aa:bb:cc", "٠٠:11:22:aa:bb:cc"]
)
def test_anything_else_is_refused(play, mac):
    async def test():
        with pytest.raises(RecipeFailed, match="is not a MAC address: write it like"):
            await wake_on_lan(WakeOnLan(mac))

    play(test())


@pytest.mark.parametrize(("broadcast", "port"), [("no-such-host.invalid", 9), ("a" * 300, 9)])
def test_what_cannot_be_sent_says_what_to_set(play, broadcast, port):
    async def test():
        with pytest.raises(RecipeFailed) as told:
            await wake_on_lan(WakeOnLan("00:11:22:aa:bb:cc", broadcast, port))
        assert 'set "broadcast" to' in str(told.value) and "\n" not in str(told.value)

    play(test())


def test_a_cancelled_one_sends_no_more(play):
    async def test():
        with listening() as (heard, port):
            sending = asyncio.create_task(wake_on_lan(WakeOnLan("00:11:22:aa:bb:cc", "127.0.0.1", port)))
            await asyncio.get_running_loop().sock_recv(heard, 1000)
            sending.cancel()
            await asyncio.wait([sending])
            with pytest.raises(BlockingIOError):
                heard.recv(1000)

    play(test())
