"""Edits of a scene's config while it runs, without a file."""

from __future__ import annotations

from dataclasses import replace

from publisher.config.values import BrokerAddress, Config, Provider
from tests.publisher.running import Scene


def config_of(s: Scene, *providers: Provider) -> Config:
    return Config((BrokerAddress(s.broker.url, "secret-token"),), providers)


async def edit(s: Scene, named: str = "m", **changes: object) -> None:
    """The provider of that name is another one now; the others stay."""
    providers = [replace(one.provider, **changes) if one.name == named else one.provider for one in s.publisher.roster]
    await s.publisher.apply(config_of(s, *providers))
