"""What the ``broker`` command's verbs do. ``__main__.py`` only names them, so that
``--help`` and completion need not load the world."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from broker import embedded, logs
from broker.errors import StoreUnavailable
from broker.open_store import open_store
from broker.serve import serve as serve_replica
from broker.settings import BadSettings, Settings
from broker.store import Store
from broker.store.address import Address, BadRedisURL, parse
from broker.vault import BadKey

#: Errors that a person can mend; their text says how.
MENDABLE = (BadSettings, BadKey, BadRedisURL, embedded.EmbeddedError, StoreUnavailable)


def run(command) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(command)
    else:
        uvloop.run(command)


async def up(*, host: str | None, port: int | None, data_dir: str | None) -> None:
    settings = _settings(host=host, port=port)
    async with AsyncExitStack() as stack:
        url = settings.redis_url
        if not url:
            server = await stack.enter_async_context(embedded.EmbeddedServer(_folder(data_dir)))
            url = server.url
            click.echo(f"{server.version} in {server.data_dir}", err=True)
        await serve_replica(
            settings, parse(url), key_file=_key_file(settings, data_dir), files_dir=_folder(data_dir) / "files", ready=_say_ready
        )


async def serve(*, host: str | None, port: int | None, data_dir: str | None) -> None:
    settings = _settings(host=host, port=port)
    address = _address(settings, data_dir, wait_s=5)
    await serve_replica(
        settings, address, key_file=_key_file(settings, data_dir), files_dir=_folder(data_dir) / "files", ready=_say_ready
    )


async def sweep(*, once: bool, as_json: bool, data_dir: str | None) -> None:
    settings = _settings()
    async with _store(settings, data_dir, wait_s=0 if once else 5) as store:
        if once:
            _show_sweep(await store.replica.sweep(), as_json)
            return
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        while not stop.is_set():
            try:
                if await store.replica.may_sweep():
                    _show_sweep(await store.replica.sweep(), as_json)
            except StoreUnavailable as error:
                click.echo(f"broker: {error}", err=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(settings.sweep_seconds, 5))


async def check(*, as_json: bool, data_dir: str | None) -> None:
    from broker.store.durability import examine

    settings = _settings_of_a_short_command()
    where = parse(settings.redis_url).safe_url if settings.redis_url else f"embedded, in {_folder(data_dir)}"
    async with _store(settings, data_dir) as store:
        try:
            await store.ping()
        except StoreUnavailable as error:
            cause = error.__cause__ or error
            raise BadSettings(f"Redis ({where}) does not answer: {cause}. Start it, or mend REDIS_URL.") from None
        report = await examine(store.redis)
    if as_json:
        click.echo(json.dumps({"redis": where, **report.as_dict()}))
    else:
        click.echo(f"Redis: {where}")
        click.echo(report.as_text(colour=sys.stdout.isatty()))
    if report.broken:
        sys.exit(1)


async def tokens_create(
    *, roles: list[str], owner: str | None, name: str, days: int | None, may_wake: bool, as_json: bool, data_dir: str | None
) -> None:
    async with _store(_settings_of_a_short_command(), data_dir) as store:
        label = name or "-".join(roles)
        token_id, token = await store.tokens.create(
            name=label, roles=roles, owner=owner or label, expires_s=days * 86400 if days else None,
            may_wake=may_wake,
        )
    if as_json:
        click.echo(json.dumps({"id": token_id, "token": token, "roles": roles, "owner": owner or label}))
    else:
        click.echo(token)
        click.echo(f"id {token_id}, roles {', '.join(roles)}, owner {owner or label}; it is not shown again", err=True)


async def tokens_list(*, as_json: bool, data_dir: str | None) -> None:
    async with _store(_settings_of_a_short_command(), data_dir) as store:
        rows = await store.tokens.list()
    if as_json:
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo("There are no tokens; `broker tokens create --role client` makes one.")
    for row in [] if as_json else rows:
        may_not = "  may not wake" if row.get("mayWake") == "0" else ""
        made = datetime.fromtimestamp(int(row["createdAt"]) / 1000, UTC).date()
        click.echo(f"{row['id']}  {row['roles']:24} owner {row['owner']:16} {row['name']}  made {made}{may_not}")


async def tokens_revoke(token_id: str, *, data_dir: str | None) -> None:
    async with _store(_settings_of_a_short_command(), data_dir) as store:
        if not await store.tokens.revoke(token_id):
            raise BadSettings(f"there is no token with the id {token_id!r}; see `broker tokens list`")
    click.echo(f"revoked {token_id}")


def _settings(**flags) -> Settings:
    settings = Settings.load(**flags)
    logs.set_up(settings.log_level, settings.log_format)
    return settings


def _settings_of_a_short_command() -> Settings:
    """Its output is its answer, so only what is wrong is logged."""
    settings = Settings.load()
    logs.set_up("warning", settings.log_format)
    return settings


def _folder(data_dir: str | None) -> Path:
    return Path(data_dir) if data_dir else embedded.default_data_dir()


def _key_file(settings: Settings, data_dir: str | None) -> Path | None:
    """Beside the embedded server's data; an external Redis has no place beside it."""
    return None if settings.redis_url else _folder(data_dir) / "secret.key"


def _address(settings: Settings, data_dir: str | None, *, wait_s: float = 0.0) -> Address:
    """REDIS_URL, else the embedded server of a running `broker up`, which may be just starting."""
    return parse(settings.redis_url or embedded.attach(_folder(data_dir), wait_s=wait_s))


class _store:
    """A store for the length of a command; without a server, the embedded one runs just as long,
    so that tokens can be made before the first start."""

    def __init__(self, settings: Settings, data_dir: str | None, *, wait_s: float = 0.0):
        self._settings = settings
        self._data_dir = data_dir
        self._wait_s = wait_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Store:
        try:
            address = _address(self._settings, self._data_dir, wait_s=self._wait_s)
        except embedded.EmbeddedError:
            if self._wait_s:
                raise
            server = await self._stack.enter_async_context(embedded.EmbeddedServer(_folder(self._data_dir)))
            address = parse(server.url)
        store = open_store(self._settings, address)
        self._stack.push_async_callback(store.close)
        return store

    async def __aexit__(self, *_) -> None:
        await self._stack.aclose()


def _say_ready(url: str) -> None:
    click.echo(f"broker listens on {url}", err=True)


def _show_sweep(report: dict, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"markedInactive": report["markedInactive"], "deleted": report["deleted"]}))
    else:
        click.echo(f"marked inactive: {report['markedInactive']}, deleted: {report['deleted']}")
    for name in report["kept"]:
        click.echo(f"kept {name!r}: a public agent is pinned to it", err=True)
