"""``scripts/cli-reference``: writes ``docs/cli.md``, or with ``--check`` says whether it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scripts.reference.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the page is not what it would be.")
def main(check: bool) -> None:
    """Write docs/cli.md from the help of `broker` and `publisher`."""
    written, wanted = PAGE.read_text() if PAGE.exists() else "", page()
    if check and written != wanted:
        click.echo("docs/cli.md is stale; scripts/cli-reference writes it", err=True)
        sys.exit(1)
    if not check and written != wanted:
        PAGE.write_text(wanted)
        click.echo("docs/cli.md is written")


if __name__ == "__main__":
    main()
