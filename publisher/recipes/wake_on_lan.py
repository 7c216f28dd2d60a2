"""The step ``wake-on-lan``: the magic packet, by UDP broadcast, three times.

Nothing answers such a packet: success means that it was sent, never that a
machine woke. A ``wait`` step behind it finds that out.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket

from publisher.config.values import WakeOnLan
from publisher.failures import RecipeFailed

TIMES = 3
APART_S = 0.1

FORMS = re.compile(
    r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{4}(\.[0-9a-f]{4}){2}", re.IGNORECASE
)


async def wake_on_lan(step: WakeOnLan) -> None:
    try:
        packet = b"\xff" * 6 + hardware_address(step.mac) * 16
    except ValueError as err:
        raise RecipeFailed(str(err)) from None
    try:
        await _send(packet, step.broadcast, step.port)
    except (OSError, OverflowError, UnicodeError) as err:
        raise RecipeFailed(
            f"the packet to {step.broadcast}:{step.port} could not be sent ({_why(err)}): "
            'set "broadcast" to the broadcast address of the network, like 192.168.1.255'
        ) from None


def hardware_address(mac: str) -> bytes:
    """Six bytes of ``aa:bb:cc:dd:ee:ff``, ``aa-bb-cc-dd-ee-ff`` or ``aabb.ccdd.eeff``; else ``ValueError``."""
    if not FORMS.fullmatch(mac):
        raise ValueError(f'"{mac}" is not a MAC address: write it like 00:11:22:aa:bb:cc')
    return bytes.fromhex(re.sub(r"[:.-]", "", mac))


async def _send(packet: bytes, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for time in range(TIMES):
            if time:
                await asyncio.sleep(APART_S)
            sender.sendto(packet, address)


def _why(err: Exception) -> str:
    # A name that does not resolve has a text of its own, and a number that is no errno.
    if isinstance(err, OSError) and not isinstance(err, socket.gaierror) and err.errno:
        return os.strerror(err.errno)
    return getattr(err, "strerror", None) or str(err) or type(err).__name__
