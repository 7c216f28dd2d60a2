"""Checks an address beyond its looks: a port that cannot be, half of an IPv6 address."""

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
