"""``python -m tests.chaos``: chaos for as long as wanted. Exit status 1 when a promise was broken."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import shutil
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.run import chaos, report
from tests.support import processes
from tests.support.places import ServerPlace
from tests.support.server import single_server


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True)
@click.option("--clients", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--appendfsync", type=click.Choice(["always", "everysec"]), default="always", show_default=True)
@click.option("--seed", type=int, help="The same choices again (not the same timing).")
def main(seconds: float, clients: int, appendfsync: str, seed: int | None) -> None:
    """Kill replicas, publishers and Redis at random under load, then check what every client got."""
    seed = random.randrange(1 << 30) if seed is None else seed
    click.echo(f"seed {seed}, {seconds:g} s, {clients} clients")
    folder = Path(tempfile.mkdtemp(prefix="reveille-chaos-"))
    with single_server(folder, "--appendfsync", appendfsync, tcp=True) as redis:
        place = ServerPlace(redis)
        # The stage's logs stay in the folder; they need not be printed.
        with contextlib.redirect_stdout(io.StringIO()), processes.stage(folder, place) as stage:
            history, wrong = asyncio.run(chaos(stage, redis, place, seconds=seconds, clients=clients, seed=seed))
    click.echo(report(history, wrong, folder))
    if not wrong:
        shutil.rmtree(folder)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
