"""Checks an address beyond its looks: a port that cannot be, half of an IPv6 address.

And of a broker's, that it can be shown to anybody: it stands in logs and in ``publisher status``.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from publisher.config.mistake import Mistake, Place


def check_address(url: str, at: Place) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Mistake(at, "is not an address that can be called: see its host and port")


def check_broker_address(url: str, at: Place) -> None:
    """No call could keep a query, and a user or a password belongs in no log: the token says who we are."""
    check_address(url, at)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise Mistake(at, "must hold no user and no password: a token says who publishes")
    if parts.query or parts.fragment:
        raise Mistake(at, "must end before the ? or #: only its host, its port and a path can count")
