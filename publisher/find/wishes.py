"""What the flags of ``publisher init`` ask for. Flags that were left out are ``None`` or empty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher.config.values import ConfigError
from publisher.find.addresses import bare, checked
from publisher.find.choice import PATTERN_SIGNS, Row
from publisher.find.found import Found


@dataclass(frozen=True, slots=True)
class Server:
    """One model of one server, or with ``model`` left out all that it tells."""

    type: str | None
    url: str | None
    model: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Wishes:
    broker: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    servers: tuple[Server, ...] = ()
    api_key_file: Path | None = None
    idle_s: float | None = None


def servers(
    types: Sequence[str], urls: Sequence[str], models: Sequence[str], names: Sequence[str]
) -> tuple[Server, ...]:
    """The repeated flags, side by side; a type or an address that is given once holds for all."""
    count = max(map(len, (types, urls, models, names)))
    flags = (("--type", types, (0, 1, count)), ("--url", urls, (0, 1, count)),
             ("--model", models, (0, count)), ("--name", names, (0, count)))
    for flag, given, right in flags:
        if len(given) not in right:
            told = f"{flag} is given {len(given)} times for {count} entries"
            raise ConfigError(f"{told}: give it once for each, in their order")
    if names and not models:
        raise ConfigError("--name needs --model, the model's name at that server")
    if models and not (types or urls):
        raise ConfigError("--model needs --url or --type: where is that server?")
    return tuple(
        Server(_nth(types, number), _nth(urls, number), _nth(models, number), _nth(names, number))
        for number in range(count)
    )


def _nth(given: Sequence[str], number: int) -> str | None:
    return given[number if len(given) > 1 else 0] if given else None


def named_rows(wanted: Sequence[Server], api_key: str | None) -> tuple[list[Row], list[str]]:
    """What is published of them, and the names if those were given."""
    chosen: list[Row] = []
    for one in wanted:
        found = _found(one, api_key)
        if one.model and PATTERN_SIGNS & set(one.model):
            raise ConfigError(f"--model {one.model}: patterns are for the config file: give a model's name")
        if not one.model and not found.models:
            key = " or give its key with --api-key-file" if found.needs_key else ""
            raise ConfigError(f"{bare(found.url)} tells no models now: name one with --model{key}")
        chosen += [(found, model) for model in ((one.model,) if one.model else found.models)]
    return list(dict.fromkeys(chosen)), [one.name for one in wanted if one.name]


def _found(one: Server, api_key: str | None) -> Found:
    """The server itself when it answers, else as it was written."""
    from publisher.backends.types import DEFAULT_URLS
    from publisher.find.detect import look_at

    url = one.url or DEFAULT_URLS.get(one.type or "")
    if not url:
        raise ConfigError(f"--type {one.type} needs --url: where is that server?")
    url = checked(url)
    if one.type and one.model:
        return Found(one.type, one.type, url)
    seen = asyncio.run(look_at(url, api_key))
    if one.type and seen and seen.type != one.type:
        return Found(one.type, one.type, url, seen.models)
    return seen or Found(one.type or "openai", one.type or "", url)
