"""The step ``http``: one request, any 2xx is success.

The reason of a failure reaches callers, so no header, no body, and nothing of a
URL that may be secret is ever in it. Redirects are not followed.
"""

from __future__ import annotations

import asyncio

import aiohttp
from yarl import URL

from publisher.config.values import Http
from publisher.failures import RecipeFailed
from publisher.reason import reason


async def call(step: Http, http: aiohttp.ClientSession, timeout_s: float) -> None:
    where = f"{step.method} {shown(step.url)}"
    try:
        async with http.request(
            step.method,
            step.url,
            headers=step.headers,
            data=step.body.encode() or None,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as answer:
            status = answer.status
    except asyncio.TimeoutError:
        raise RecipeFailed(f"{where} gave no answer within {timeout_s:g} s") from None
    except (ValueError, TypeError, aiohttp.NonHttpUrlClientError):  # their texts may quote the URL or a header
        raise RecipeFailed(f"{where} failed: it cannot be sent like that: check its url and headers") from None
    except (aiohttp.ClientError, OSError) as err:
        raise RecipeFailed(f"{where} failed: {reason(err)}") from None
    if 300 <= status < 400:
        raise RecipeFailed(f"{where} answered {status}: redirects are not followed, give the address it leads to")
    if not 200 <= status < 300:
        raise RecipeFailed(f"{where} answered {status}")


def shown(url: str) -> str:
    """The URL for messages: without user, password, query and fragment."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "(not a valid URL)"
