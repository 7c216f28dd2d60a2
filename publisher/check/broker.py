"""Checks one broker: is it reached, is it one, does it take requests; then its clock and the token.

The way there is the publisher's own: same proxy, same certificates. No redirect
is followed, as the publisher follows none.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec
from yarl import URL

from publisher.check.clock import check_clock
from publisher.check.finding import About, Finding
from publisher.check.token import check_token
from publisher.check.unreached import unreached
from publisher.config.values import BrokerAddress, ConfigError
from publisher.find.addresses import bare
from publisher.link.connector import Way

LIMIT_S = 8.0


async def check_broker(address: BrokerAddress, limit_s: float = LIMIT_S) -> list[Finding]:
    about = About(f"broker {bare(address.url)}")
    try:
        way = Way.of(address)
    except ConfigError as err:
        return [about.error(str(err), "correct the broker's entry in the config")]
    limits = aiohttp.ClientTimeout(total=limit_s)
    async with aiohttp.ClientSession(
        connector=way.connector(), proxy=way.proxy, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        try:
            return await _looked(http, address, about)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as err:
            return [about.error(*unreached(err, way.host, way.port))]


async def _looked(http: aiohttp.ClientSession, address: BrokerAddress, about: About) -> list[Finding]:
    root = address.url.rstrip("/")
    began = time.monotonic()
    async with http.get(f"{root}/healthz", allow_redirects=False) as answer:
        health = _fields(await answer.content.read(1 << 16))
    ms = (time.monotonic() - began) * 1000
    if 300 <= answer.status < 400:
        return [about.error("this address sends elsewhere", f"use that one: {_target(answer)}")]
    if answer.status >= 500:
        return [about.error(f"it answers with the error {answer.status}", "is the broker behind this proxy running?")]
    clock = check_clock(about, answer.headers.get("Date"), time.time())
    token = await check_token(http, address, about)
    if token is None:
        return [about.error("this is no Reveille broker", "correct the address: scheme, port, and path if it has one")]
    version = f" {health['version']}" if health.get("status") == "ok" and "version" in health else ""
    return [about.ok(f"a Reveille broker{version} answers in {ms:.0f} ms"), *await _ready(http, root, about), *clock, *token]


async def _ready(http: aiohttp.ClientSession, root: str, about: About) -> list[Finding]:
    async with http.get(f"{root}/readyz", allow_redirects=False) as answer:
        said = _fields(await answer.content.read(1 << 16)).get("error")
    if answer.status != 503 or not isinstance(said, dict):
        return []
    return [about.warning(f"it takes no requests now: {said.get('message')}", "look at the broker: broker check")]


def _target(answer: aiohttp.ClientResponse) -> str:
    """Without the path that was asked for, and without what may be a secret."""
    try:
        target = answer.url.join(URL(answer.headers.get("Location", "")))
    except ValueError:
        return "?"
    return bare(str(target)).removesuffix("/").removesuffix("/healthz")


def _fields(body: bytes) -> dict:
    try:
        told = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
