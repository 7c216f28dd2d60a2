"""``publisher check``: what would go wrong, found before it does. What is looked at is in ``publisher/check``."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from publisher.cli.printing import FAILED, say
from publisher.cli.told import Told
from publisher.config.values import ConfigError

if TYPE_CHECKING:
    from publisher.check.finding import Finding

SIGNS = {"ok": ("✓", "+", "green"), "warning": ("!", "!", "yellow"), "error": ("✗", "x", "red")}


@click.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PUBLISHER_CONFIG", show_envvar=True,
              help="Config file; by default the one in the user's config directory.")
@click.option("--broker", envvar="BROKER_URL", show_envvar=True, help="The broker's address, instead of the file's.")
@click.option("--token", envvar="BROKER_TOKEN", show_envvar=True, help="The token, instead of the file's.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file that holds it.  [env var: BROKER_TOKEN_FILE]")
@click.option("--ca-file", help="Certificates to trust besides the system's, for the broker (PEM).")
@click.option("--proxy", help='HTTP proxy on the way to the broker; "none" for none.')
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Look at this machine only, at no broker, server or name.")
def check(config: Path | None, broker: str | None, token: str | None, token_file: Path | None, ca_file: str | None,
          proxy: str | None, as_json: bool, offline: bool) -> None:
    """Look whether a publisher with this config would work. Starts, wakes and changes nothing."""
    logging.getLogger("publisher").setLevel(logging.CRITICAL)  # what is to be said is in the findings
    from publisher.find.place import default_config

    found = _found(Told(config or default_config(), broker, token, token_file, ca_file, proxy), offline)
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    if as_json:
        import msgspec

        click.echo(json.dumps({"findings": msgspec.to_builtins(found), "errors": errors, "warnings": warnings}, indent=2))
    else:
        _tell(found)
        say()
        if errors or warnings:
            say(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}", "red" if errors else "yellow")
        else:
            say("all is well", "green")
    sys.exit(FAILED if errors else 0)


def _found(told: Told, offline: bool) -> list[Finding]:
    import asyncio

    from publisher.check.everything import check_everything
    from publisher.check.finding import About
    from publisher.find.place import config_home

    if told.path is None and not told.broker:
        return [About("config").error(f"there is no config file in {config_home()}", "publisher init writes one")]
    try:
        config, files = told.read()
    except ConfigError as err:
        return [About(f"config {told.path or ''}".strip()).error(str(err), "correct that, and check again")]
    return asyncio.run(check_everything(told.path, config, files, offline))


def _tell(found: list[Finding]) -> None:
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
        plain = 0
    except (UnicodeEncodeError, LookupError):
        plain = 1
    for subject in dict.fromkeys(finding.subject for finding in found):
        say(subject, bold=True)
        for finding in found:
            if finding.subject == subject:
                sign, colour = SIGNS[finding.level][plain], SIGNS[finding.level][2]
                say(f"  {sign} {finding.what}", None if finding.level == "ok" else colour)
                if finding.remedy:
                    say(f"    {finding.remedy}", dim=True)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
