"""Which addresses are looked at: this machine's usual ports, and where ``OLLAMA_HOST`` points.

It opens no connection.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from publisher.config.address import check_broker_address
from publisher.config.mistake import Mistake
from publisher.config.values import ConfigError

PORTS = (11434, 1234, 8080, 8000, 30000, 5000, 3000, 8081, 1337)
LOOPBACK = "127.0.0.1"
_EVERYWHERE = ("", "0.0.0.0", "::", "localhost")  # for a client: this machine

#: Roots of one place, the second asked only when nobody listens at the first.
Target = tuple[str, ...]


def targets(hosts: Iterable[str] | None, ports: Iterable[int] | None) -> list[Target]:
    """Both left out: this machine, with ``OLLAMA_HOST``. Raises ``ConfigError`` for what is no host."""
    found = [_target(host, port) for host in hosts or (LOOPBACK,) for port in ports or PORTS]
    if hosts is None and ports is None and (own := ollama_host(os.environ.get("OLLAMA_HOST", ""))):
        found.append(own)
    return list(dict.fromkeys(found))


def ollama_host(value: str) -> Target | None:
    """Ollama's own rules: the scheme, the host and the port may each be left out."""
    value = value.strip().strip("\"'")
    if not value:
        return None
    scheme, said, rest = value.partition("://")
    if not said:
        scheme, rest = "http", value
    if scheme not in ("http", "https"):
        return None
    rest = rest.split("/", 1)[0]
    try:
        bare = f"[{rest}]" if rest.count(":") > 1 and not rest.startswith("[") else rest
        parts = urlsplit(f"//{bare}")
        port = parts.port or (11434 if not said else {"http": 80, "https": 443}[scheme])
        if scheme == "https":
            return (f"https://{_bracketed(parts.hostname or LOOPBACK)}:{port}",)
        return _target(parts.hostname or "", port)
    except (ValueError, ConfigError):
        return None


def checked(url: str) -> str:
    """The address as it is written into a config file. Raises ``ConfigError``."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f'{bare(url)}: must be an address like "https://broker.example"')
    return url


def checked_broker(url: str) -> str:
    """The same, of a broker. Raises ``ConfigError``."""
    url = checked(url)
    try:
        check_broker_address(url, ())
    except Mistake as mistake:
        raise ConfigError(f"{bare(url)}: {mistake.text}") from None
    return url


def root_of(url: str) -> str:
    """The server's root: without the ``/v1`` that people write, without a query."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def bare(url: str) -> str:
    """For messages: without a user, a password, or a query."""
    scheme, said, rest = url.partition("://")
    rest = rest if said else scheme
    place, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return (scheme + said if said else "") + place.rpartition("@")[2] + slash + path


def _target(host: str, port: int) -> Target:
    name = host.strip("[]").lower()
    if any(character in name for character in "/@?# ") or ":" in name and not _is_ip(name):
        raise ConfigError(f"{bare(host)}: must be a host's name or address, such as 192.168.1.5; give its port with --port")
    if name in _EVERYWHERE or name == LOOPBACK:
        return (f"http://{LOOPBACK}:{port}", f"http://[::1]:{port}")
    return (f"http://{_bracketed(name)}:{port}",)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
