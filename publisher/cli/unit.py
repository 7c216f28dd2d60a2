"""``publisher service``: the publisher as a service of this user, that starts by itself.

What the systems want is in ``publisher/unit``; here is only what people type and read.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from publisher.config.values import ConfigError

if TYPE_CHECKING:
    from publisher.unit.job import Job
    from publisher.unit.standing import Keeper, Standing

FAILED = 1
BAD_CONFIG = 2
SETTLED_S = 5.0  # how long a start is watched before one is told how it stands


def _name(ctx: click.Context, option: click.Parameter, name: str) -> str:
    from publisher.unit.job import NAME

    name = name.removesuffix(".service")
    if not NAME.fullmatch(name):
        raise click.BadParameter("letters, digits, _ . and - only, at most 64")
    return name


_name_option = click.option("--name", default="reveille-publisher", show_default=True, callback=_name,
                            help="What the service is called; several configs need several names.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group()
def service() -> None:
    """Keep the publisher running as a service of this user."""


@service.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
              help="Config file; by default the one in the user's config directory.")
@_name_option
@click.option("--dry-run", is_flag=True, help="Print what would be written, and change nothing.")
@_json_option
def install(config: Path | None, name: str, dry_run: bool, as_json: bool) -> None:
    """Start the publisher now and at every login. Again after a change: rewrites and restarts."""
    with _errors():
        job = _job(name, config)
        keeper = _keeper(job)
        if not dry_run:
            keeper.check()
        _check_config(job, keeper)
        text = keeper.text(job)
        if dry_run:
            click.echo(json.dumps({"text": text}) if as_json else text, nl=as_json)
            return
        changed = keeper.install(job)
        standing = _settled(keeper, name)
        hint = keeper.hint()
    _tell(standing, as_json, changed=changed, hint=hint)
    sys.exit(FAILED if standing.state in ("failed", "stopped") else 0)


@service.command()
@_name_option
@_json_option
def uninstall(name: str, as_json: bool) -> None:
    """Stop the service and remove it. Config and session stay."""
    with _errors():
        removed = _keeper(None, name).uninstall(name)
    if as_json:
        click.echo(json.dumps({"name": name, "removed": removed}))
    else:
        click.echo(f"{name} is stopped and removed" if removed else f"{name} is not installed")


@service.command()
@_name_option
@_json_option
def status(name: str, as_json: bool) -> None:
    """Tell whether the service is installed and runs; exit code 0 while it runs."""
    with _errors():
        standing = _keeper(None, name).standing(name)
    _tell(standing, as_json)
    sys.exit(0 if standing.state in ("running", "starting") else FAILED)


def _job(name: str, config: Path | None) -> Job:
    from publisher.find.place import config_home, default_config
    from publisher.unit.job import Job

    path = config or default_config()
    if path is None:
        raise ConfigError(f"no config file in {config_home()}: write one with `publisher init`, or give --config")
    return Job.of(name, path)


def _keeper(job: Job | None, name: str = "") -> Keeper:
    from publisher.unit.standing import Unavailable

    if sys.platform == "win32":
        from publisher.unit.task_scheduler import command, removal

        raise Unavailable("there are no services of a user on Windows; the Task Scheduler does the same: "
                          + (command(job) if job else removal(name)))
    if sys.platform == "darwin":
        from publisher.unit.launchd import Launchd

        return Launchd()
    from publisher.unit.systemd import Systemd

    return Systemd()


def _check_config(job: Job, keeper: Keeper) -> None:
    from publisher.unit.fit import check_fit

    check_fit(job, keeper.variables(job), has_env_file=sys.platform != "darwin")


def _settled(keeper: Keeper, name: str) -> Standing:
    """Once it runs or failed; as it stands when that takes long, as with a broker that is away."""
    until = time.monotonic() + SETTLED_S
    while True:
        standing = keeper.standing(name)
        if standing.state in ("running", "failed") or time.monotonic() > until:
            return standing
        time.sleep(0.2)


def _tell(standing: Standing, as_json: bool, **more: object) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps({**more, **msgspec.to_builtins(standing)}))
        return
    if not standing.installed:
        click.echo(f"{standing.name} is not installed: publisher service install")
        return
    since = f" since {standing.since}" if standing.since else ""
    pid = f", process {standing.pid}" if standing.pid else ""
    detail = f" ({standing.detail})" if standing.detail else ""
    by_itself = "starts by itself" if standing.enabled else "does not start by itself: publisher service install"
    click.echo(f"{standing.name}: {standing.state}{detail}{since}{pid}; {by_itself}")
    click.echo(f"  file: {standing.file}\n  logs: {standing.log_command}")
    for line in standing.log:
        click.echo(f"    {line}")
    if more.get("hint"):
        click.echo(f"  note: {more['hint']}")


@contextmanager
def _errors() -> Iterator[None]:
    """Every refusal is one line on stderr."""
    from publisher.unit.standing import Failed, Unavailable
    from publisher.unit.written import NotOurs

    try:
        yield
    except ConfigError as err:
        _fail(str(err), BAD_CONFIG)
    except (Unavailable, Failed, NotOurs) as err:
        _fail(str(err), FAILED)
    except OSError as err:
        _fail(f"{err.filename or 'service'}: {err.strerror or err}", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"publisher: {message}", err=True)
    sys.exit(code)
