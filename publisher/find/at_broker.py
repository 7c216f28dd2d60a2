"""Whether an address is a Reveille broker's, and whether a token may publish there.

One call that changes nothing: a heartbeat of a session that does not exist. The
token is sent to that address only and is in no message.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import aiohttp
import msgspec

from publisher.config.values import BrokerAddress
from publisher.find.addresses import bare
from publisher.reason import reason

LIMIT_S = 5.0
LARGEST_REFUSAL = 64 << 10
PATH = "/api/v1/llms/_provider-heartbeat"


@dataclass(frozen=True, slots=True)
class Reception:
    """``trouble`` is for people; empty when this token, or none, may publish there."""

    trouble: str = ""
    reveille: bool = False
    wants_token: bool = False


async def ask_broker(address: BrokerAddress) -> Reception:
    from publisher.link.connector import Way

    where = bare(address.url)
    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    nobody = {"providerSessionId": f"ps_{secrets.token_urlsafe(18)}"}
    way = Way.of(address)
    try:
        async with (
            aiohttp.ClientSession(connector=way.connector(), proxy=way.proxy) as http,
            http.post(
                address.url.rstrip("/") + PATH, json=nobody, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=LIMIT_S),
            ) as answer,
        ):
            body = bytearray()
            while len(body) < LARGEST_REFUSAL and (block := await answer.content.readany()):
                body += block
            status, code = answer.status, _code(body)
    except asyncio.TimeoutError:
        return Reception(f"{where} does not answer")
    except (aiohttp.ClientError, OSError, ValueError) as err:
        return Reception(f"{where} does not answer ({reason(err)})")
    return _received(where, status, code, bool(address.token))


def _received(where: str, status: int, code: str, token: bool) -> Reception:
    if 300 <= status < 400:
        return Reception(f"{where} sends elsewhere: give the address that it leads to")
    if (status, code) == (404, "unknown_session"):
        return Reception(reveille=True)
    if (status, code) == (401, "invalid_token"):
        trouble = f"{where} does not know this token" if token else f"{where} wants a token"
        return Reception(f"{trouble}: broker tokens create --role publisher makes one", True, True)
    if (status, code) == (403, "forbidden"):
        return Reception(f"{where} does not let this token publish: it needs the role publisher", True, True)
    if status >= 500:
        return Reception(f"{where} answers with the error {status}: is the broker behind it running?")
    return Reception(f"{where} answers, but not like a Reveille broker: check the address")


def _code(body: bytearray) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
