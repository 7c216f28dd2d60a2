"""Checks whether a token may publish: by the heartbeat of a session that does not exist.

That changes nothing at the broker. The token is sent to the broker's own address
only and is in no finding.
"""

from __future__ import annotations

import ipaddress
import secrets

import aiohttp
import msgspec
from yarl import URL

from publisher.check.finding import About, Finding
from publisher.config.values import BrokerAddress

PATH = "/api/v1/llms/_provider-heartbeat"
MAKE = "broker tokens create --role publisher makes one"
#: (status, code) of a Reveille broker.
UNKNOWN_SESSION = (404, "unknown_session")
INVALID_TOKEN = (401, "invalid_token")
FORBIDDEN = (403, "forbidden")


async def check_token(http: aiohttp.ClientSession, address: BrokerAddress, about: About) -> list[Finding] | None:
    """``None``: this is no Reveille broker. Raises what the HTTP client raises."""
    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    body = {"providerSessionId": f"ps_{secrets.token_urlsafe(18)}"}
    async with http.post(address.url.rstrip("/") + PATH, json=body, headers=headers, allow_redirects=False) as answer:
        code, message = _error(await answer.content.read(1 << 16))
        said = (answer.status, code)
    if said == UNKNOWN_SESSION:
        welcome = "this token may publish" if address.token else "it wants no token"
        return [about.ok(welcome), *_open_wire(address, about)]
    if said == INVALID_TOKEN:
        if address.token:
            return [about.error("the broker does not know this token", f"correct or replace it: {MAKE}")]
        return [about.error("the broker wants a token", f'set "token", "tokenFile" or BROKER_TOKEN: {MAKE}')]
    if said == FORBIDDEN:
        remedy = MAKE if address.token else f"name its host in BROKER_ALLOWED_HOSTS at the broker, or use a token: {MAKE}"
        return [about.error(f"the broker refuses {'this token' if address.token else 'us'}: {message}", remedy)]
    if answer.status >= 500 or answer.status == 429:
        return [about.warning(f"whether the token is right is not known: the broker answers {answer.status} now", "try again")]
    return None


def _open_wire(address: BrokerAddress, about: About) -> list[Finding]:
    url = URL(address.url)
    if not address.token or url.scheme == "https" or _is_this_machine(url.host or ""):
        return []
    return [about.warning("the token and all requests travel unencrypted", "give the broker TLS and an https:// address")]


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _error(body: bytes) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""
