"""All checks of one config, side by side. One that breaks spoils no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from publisher.check.finding import About, Finding
from publisher.config.values import Config


async def check_everything(path: Path | None, config: Config, files: Iterable[Path], offline: bool) -> list[Finding]:
    """``files``: all that were read with the config. ``offline``: no address is looked at."""
    found = await asyncio.gather(
        _safely("config", lambda: _config_file(path, config, files)),
        *(_safely("broker", lambda one=one: _broker(one)) for one in (() if offline else config.brokers)),
        _safely("backends", lambda: _backends(config, offline)),
        *(_safely("recipes", lambda one=one: _recipes(one, offline)) for one in config.providers),
        _safely("warm hours", lambda: _hours(config)),
        *(_safely("tools", lambda one=one: _tool_server(one, offline)) for one in config.tools),
        _safely("session", lambda: _session(path, config)),
    )
    return list(dict.fromkeys(finding for some in found for finding in some))


async def _safely(subject: str, check: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await check()
    except Exception as err:
        return [About(subject).error(f"could not be checked ({type(err).__name__})", "please report this")]


async def _config_file(path: Path | None, config: Config, files: Iterable[Path]) -> list[Finding]:
    from publisher.check.config_file import check_config_file

    return check_config_file(path, config, files) if path is not None else []


async def _broker(address) -> list[Finding]:
    from publisher.check.broker import check_broker

    return await check_broker(address)


async def _backends(config: Config, offline: bool) -> list[Finding]:
    if offline or not config.providers:
        return []
    from publisher.check.backend import check_backend, sights
    from publisher.check.names import check_names

    seen = await sights(config.providers)
    return [*(finding for sight in seen for finding in check_backend(sight)), *check_names(seen)]


async def _recipes(provider, offline: bool) -> list[Finding]:
    from publisher.check.recipe import check_recipes

    return await check_recipes(provider, offline)


async def _hours(config: Config) -> list[Finding]:
    from publisher.check.hours import check_hours

    return check_hours(config.providers)


async def _tool_server(tool, offline: bool) -> list[Finding]:
    from publisher.check.tool_server import check_tool_server

    return await check_tool_server(tool, offline)


async def _session(path: Path | None, config: Config) -> list[Finding]:
    from publisher.check.session_file import check_session_file

    source = str(path.absolute()) if path else ""
    return [finding for broker in config.brokers for finding in check_session_file(broker.url, source)]
