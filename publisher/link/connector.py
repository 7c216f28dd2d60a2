"""The way to one broker: proxy, trusted certificates, and what its sockets are told.

A ``Way`` is made of what people wrote and what the environment says, without a
network and before anything runs. It never sends a request, never reads
``~/.netrc``, and never puts a proxy's credentials into a message.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import urllib.request
import weakref
from contextlib import suppress

import aiohttp
from yarl import URL

from publisher.config.values import BrokerAddress, ConfigError

# Load balancers drop connections that were idle for 60 s, often without a word. Ours end before that, but
# live longer than the 30 s between heartbeats: a shorter time would mean a TLS handshake for each of them.
KEEPALIVE_S = 45.0
#: Nothing acknowledged for so long: the connection is dead. Without it Linux goes on for a quarter of an hour.
USER_TIMEOUT_S = 30
PROBE_AFTER_S = 30
PROBE_EVERY_S = 10
PROBES = 3

_OPTIONS = [
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", PROBE_AFTER_S),
    (socket.IPPROTO_TCP, "TCP_KEEPALIVE", PROBE_AFTER_S),  # what macOS calls it
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", PROBE_EVERY_S),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", PROBES),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_S * 1000),  # Linux only
]


class Way:
    """``proxy`` goes into each request, or once into the ``ClientSession``; it may hold credentials.

    ``host`` and ``port`` are whom the sockets connect to: the proxy, or the broker itself.
    """

    def __init__(self, url: URL, proxy: URL | None, trusted: ssl.SSLContext | bool) -> None:
        first = proxy or url
        self.host: str = first.host or ""
        self.port: int = first.port or 0
        self.proxy = proxy
        self._trusted = trusted
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    @classmethod
    def of(cls, address: BrokerAddress) -> Way:
        """Raises ``ConfigError`` when the address, its proxy or its CA file cannot be used."""
        url = _broker_url(address.url)
        proxy = _written_proxy(address.proxy) if address.proxy else _proxy_of_the_environment(url)
        # Only this takes time (17 ms) and memory (0.8 MB); without it the HTTP client's own context serves.
        private = address.ca_file is not None and url.scheme == "https"
        return cls(url, proxy, _trust(address.ca_file) if private else True)

    def connector(self) -> aiohttp.TCPConnector:
        """For one ``ClientSession``, which closes it. Needs a running loop."""
        return aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_S, ssl=self._trusted, socket_factory=self._socket
        )

    def cut(self) -> None:
        """Ends every connection there is, in use or idle.

        For a machine that moved to another network: what is under way there would
        hang until its timeout. Here it fails at once, and whoever asked tries again.
        """
        for made in list(self._sockets):
            with suppress(OSError):  # not connected yet, or closed already
                made.shutdown(socket.SHUT_RDWR)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        for level, name, value in _OPTIONS:
            # No option is worth a connection: some systems know a name and refuse it.
            if hasattr(socket, name):
                with suppress(OSError):
                    made.setsockopt(level, getattr(socket, name), value)
        self._sockets.add(made)
        return made


def _broker_url(text: str) -> URL:
    try:
        url = URL(text)
        if url.scheme in ("http", "https") and url.host and url.port:
            return url
    except ValueError:
        pass
    raise ConfigError('the broker\'s address must be one like "https://broker.example"')


# ── proxies ─────────────────────────────────────────────────────────────────


def _written_proxy(text: str) -> URL | None:
    return None if text == "none" else _proxy(text, "proxy", 'write "none" for no proxy')


def _proxy_of_the_environment(url: URL) -> URL | None:
    """As curl does it; on macOS and Windows also as the system's settings say."""
    if _is_this_machine(url.host):
        return None
    known = urllib.request.getproxies()
    kind = next((kind for kind in (url.scheme, "all") if known.get(kind)), None)
    host = f"[{url.host}]" if ":" in url.host else url.host
    if kind is None or urllib.request.proxy_bypass(f"{host}:{url.port}"):
        return None
    return _proxy(known[kind], f"{kind.upper()}_PROXY", f'add {url.host} to NO_PROXY, or write "proxy": "none"')


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _proxy(text: str, where: str, otherwise: str) -> URL:
    try:
        url = URL(text if "://" in text else f"http://{text}")
        usable, kind = bool(url.host and url.port), url.scheme
    except ValueError:
        usable, kind = False, "http"
    if kind.startswith("socks"):
        raise ConfigError(f"{where}: a SOCKS proxy is not supported: name an HTTP one, or {otherwise}")
    if kind != "http":
        raise ConfigError(f"{where}: a proxy that is itself reached by {kind} is not supported: {otherwise}")
    if not usable:
        raise ConfigError(f'{where}: must be an address like "http://proxy.example:3128", or {otherwise}')
    return url.with_path("/").with_fragment(None)


# ── certificates ────────────────────────────────────────────────────────────


def _trust(ca_file: str) -> ssl.SSLContext:
    """What the system trusts (``SSL_CERT_FILE`` is heeded), and that file's certificates as well."""
    trusted = ssl.create_default_context()
    trusted.set_alpn_protocols(["http/1.1"])
    try:
        trusted.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigError(f"caFile {ca_file}: holds no certificate in PEM form") from None
    except OSError as err:
        raise ConfigError(f"caFile {ca_file}: cannot be read: {err.strerror or err}") from None
    return trusted
