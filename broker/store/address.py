"""Where Redis is, read from ``REDIS_URL``.

One server (``redis://``, ``rediss://``, ``unix://``), Sentinels
(``redis+sentinel://h1,h2/<primary>/<db>``) or a Cluster
(``redis+cluster://h1,h2``); the last two also with ``rediss+``. ``endpoint.py``
says which node that means right now. Nothing here connects anywhere, and no
password may appear in a repr, a message or ``safe_url``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .tls import TLS_OPTIONS, Tls

SINGLE, SENTINEL, CLUSTER = "single", "sentinel", "cluster"

_KINDS = {"": SINGLE, "sentinel": SENTINEL, "cluster": CLUSTER}
_PORTS = {SINGLE: 6379, SENTINEL: 26379, CLUSTER: 6379}
#: redis-py's Cluster client takes no directory of CAs and no encrypted key.
_CLUSTER_TLS_OPTIONS = tuple(set(TLS_OPTIONS) - {"ssl_ca_path", "ssl_password"})
_FORMS = (
    "redis://host:6379/0, rediss://…, unix:///path/redis.sock, "
    "redis+sentinel://host1:26379,host2:26379/primary or redis+cluster://host1:6379,host2:6379"
)


class BadRedisURL(ValueError):
    """``REDIS_URL`` cannot be read; the message says what to write instead."""


@dataclass(frozen=True)
class Node:
    """A host and port as somebody wrote it: a server, a Sentinel or a Cluster seed."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Address:
    """What ``REDIS_URL`` said. ``nodes`` is empty exactly when ``path`` is set."""

    kind: str
    nodes: tuple[Node, ...] = ()
    path: str | None = None
    primary: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def safe_url(self) -> str:
        """The address for people and logs: everything but the passwords."""
        user = f"{self.username or ''}:***@" if self.password else ""
        db = f"/{self.db}" if self.db else ""
        if self.path:
            return f"unix://{user}{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = "rediss" if self.tls else "redis"
        if self.kind != SINGLE:
            scheme += f"+{self.kind}"
        primary = f"/{self.primary}" if self.primary else ""
        return f"{scheme}://{user}{','.join(map(str, self.nodes))}{primary}{db}"

    def __str__(self) -> str:
        return self.safe_url


def parse(url: str) -> Address:
    """Read one Redis URL, or raise BadRedisURL saying what is wrong with it."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise BadRedisURL(f"REDIS_URL is not a URL; write {_FORMS}") from None
    if parts.fragment or _password_spilled(parts):
        # Said without quoting the URL: what follows may be half a password.
        raise BadRedisURL("REDIS_URL: percent-encode / ? # @ in a password (%2F %3F %23 %40)")
    options = _options(parts)
    if parts.scheme == "unix":
        address = _unix_socket(parts, options)
    else:
        address = _network(parts, options)
    if options:
        raise BadRedisURL(
            f"REDIS_URL: {', '.join(sorted(options))} is no option of {parts.scheme}://; "
            f"options are db, username, password, with Sentinels sentinel_username and "
            f"sentinel_password, with rediss {', '.join(TLS_OPTIONS)}"
        )
    return address


def _password_spilled(parts: SplitResult) -> bool:
    """An ``@`` after a host part without one: the password ended the host early."""
    rest = parts.path + parts.query
    return parts.scheme != "unix" and "@" in rest and "@" not in parts.netloc


def _unix_socket(parts: SplitResult, options: dict[str, str]) -> Address:
    userinfo, _, host = parts.netloc.rpartition("@")
    if host or not parts.path.startswith("/"):
        raise BadRedisURL("REDIS_URL: a socket needs an absolute path: unix:///path/redis.sock")
    return Address(
        SINGLE,
        path=unquote(parts.path),
        db=_db(options.pop("db", "")),
        **_credentials(userinfo, options),
    )


def _network(parts: SplitResult, options: dict[str, str]) -> Address:
    scheme, _, suffix = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or suffix not in _KINDS or parts.scheme.endswith("+"):
        written = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise BadRedisURL(f"REDIS_URL has {written}; write {_FORMS}")
    kind = _KINDS[suffix]
    userinfo, _, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(text, _PORTS[kind]) for text in hosts.split(","))
    if kind == SINGLE and len(nodes) > 1:
        raise BadRedisURL(
            f"REDIS_URL names {len(nodes)} hosts; for several write "
            f"{scheme}+sentinel://… or {scheme}+cluster://…"
        )
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    primary = _primary(path) if kind == SENTINEL else None
    if len(path) > 1:
        raise BadRedisURL(f"REDIS_URL: cannot read {parts.path!r} after the host")
    db = _db(options.pop("db", "") or "".join(path))
    if kind == CLUSTER and db:
        raise BadRedisURL(f"REDIS_URL: a Redis Cluster has only database 0, not {db}")
    sentinel_only = ("sentinel_username", "sentinel_password") if kind == SENTINEL else ()
    return Address(
        kind,
        nodes=nodes,
        primary=primary,
        db=db,
        tls=_tls(kind, options) if scheme == "rediss" else None,
        **{name: options.pop(name) for name in sentinel_only if name in options},
        **_credentials(userinfo, options),
    )


def _primary(path: list[str]) -> str:
    """Takes the name of the watched primary off the path."""
    if not path:
        raise BadRedisURL(
            "REDIS_URL: Sentinels need the name of the primary they watch: "
            "redis+sentinel://host:26379/<name>"
        )
    return path.pop(0)


def _node(text: str, default_port: int) -> Node:
    """``host``, ``host:port``, ``[::1]:port``; an empty host alone is an error."""
    host, _, port = text.strip().partition("]") if text.startswith("[") else ("", "", text.strip())
    if host:
        host, port = host[1:], port.removeprefix(":")
    else:
        host, _, port = port.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise BadRedisURL(f"REDIS_URL: {text!r} is not a host, nor host:port; write {_FORMS}")
    return Node(unquote(host), int(port or default_port))


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise BadRedisURL(f"REDIS_URL: the database is a number, not {text!r}")
    return int(text or 0)


def _credentials(userinfo: str, options: dict[str, str]) -> dict[str, str | None]:
    """Percent-encoded before the ``@``, or as options; the user may be left out."""
    username, _, password = userinfo.partition(":")
    asked_username, asked_password = options.pop("username", ""), options.pop("password", "")
    return {
        "username": unquote(username) or asked_username or None,
        "password": unquote(password) or asked_password or None,
    }


def _options(parts: SplitResult) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(parts.query).items()}


def _tls(kind: str, options: dict[str, str]) -> Tls:
    known = _CLUSTER_TLS_OPTIONS if kind == CLUSTER else TLS_OPTIONS
    try:
        return Tls.read({name: options.pop(name) for name in known if name in options})
    except ValueError as problem:
        raise BadRedisURL(f"REDIS_URL: {problem}") from None
