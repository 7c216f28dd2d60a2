"""What went wrong with a connection, on one line and in few words.

Never the whole error: some carry the request's headers, and with them a key.
"""

from __future__ import annotations

import os
import re

import aiohttp


def reason(err: BaseException) -> str:
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        why = getattr(err.certificate_error, "verify_message", "") or "not valid"
        return f"its certificate is not trusted ({why}); a private authority's goes into caFile"
    if isinstance(err, aiohttp.ClientProxyConnectionError):
        return f"the proxy {err.host}:{err.port}: {_said(err)}"
    if isinstance(err, aiohttp.ClientConnectorError):
        return _said(err)
    if isinstance(err, TimeoutError):
        return "no answer in time"
    text = err.message if isinstance(err, aiohttp.ClientResponseError) else str(err)
    return re.sub(r"\s+", " ", text or type(err).__name__)[:200]


def _said(err: aiohttp.ClientConnectorError) -> str:
    system = err.os_error
    # A negative number is a name that does not resolve; those have their own text.
    known = isinstance(system.errno, int) and system.errno > 0
    return os.strerror(system.errno) if known else system.strerror or str(system)
