"""Why an address was not reached, and what to do: in words, out of the HTTP client's errors.

Never the errors' own text as a whole: some of it holds a proxy's credentials.
"""

from __future__ import annotations

import asyncio
import errno

import aiohttp

from publisher.reason import reason

WITHOUT = 'or go without it: "proxy": "none"'


def unreached(err: BaseException, host: str, port: int) -> tuple[str, str]:
    """What happened, and the remedy. ``host`` and ``port``: whom the socket was to reach, a proxy perhaps."""
    at = f"{host}:{port}"
    if isinstance(err, aiohttp.ClientHttpProxyError):
        if err.status == 407:
            return f"the proxy {at} wants a user and a password", f"put them into its address, {WITHOUT}"
        return f"the proxy {at} refuses to connect (HTTP {err.status})", f"ask whoever runs it, {WITHOUT}"
    if isinstance(err, aiohttp.ClientConnectorDNSError):
        return f"the name {host} does not resolve", "correct the address; if it is right, look at network and DNS"
    if isinstance(err, aiohttp.ClientProxyConnectionError):
        return f"the proxy {at} is not reached ({reason(err)})", f'correct "proxy" or HTTPS_PROXY, {WITHOUT}'
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return _distrusted(err, host)
    if isinstance(err, aiohttp.ClientSSLError):
        return f"{at} does not speak TLS with us", "is it http:// and not https://, or another port?"
    if isinstance(err, aiohttp.ClientConnectorError):
        if err.os_error.errno == errno.ECONNREFUSED:
            return f"nobody listens at {at}", "start the broker, or correct the address"
        return f"{at} is not reached ({reason(err)})", "look at the network, a VPN or a firewall"
    if isinstance(err, asyncio.TimeoutError):
        return f"{at} does not answer in time", "look at the network: a firewall may swallow it, or it needs a proxy"
    return f"{at} gave no proper answer ({reason(err)})", "is it https:// and not http://, or another port?"


def _distrusted(err: aiohttp.ClientConnectorCertificateError, host: str) -> tuple[str, str]:
    why = getattr(err.certificate_error, "verify_message", "") or "it is not trusted"
    what = f"the certificate of {host} is refused: {why}"
    low = why.lower()
    if "mismatch" in low or "not valid for" in low:
        return what, "use the name that the certificate has, or have one made for this name"
    if "expired" in low or "not yet valid" in low:
        return what, "renew it, unless this machine's clock is wrong"
    return what, 'name the authority that signed it: "caFile": "/path/to/ca.pem"'
