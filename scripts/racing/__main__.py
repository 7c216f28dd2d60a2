"""``scripts/sleep-race``: races as long as wanted. Exit status 1 when anything was not as it must be."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from scripts.racing.race import Outcome, race
from tests.support import processes
from tests.support.places import ServerPlace
from tests.support.processes import Stage
from tests.support.server import Server, single_server

SHOWN = 30


@click.command()
@click.option("--requests", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--rows", type=click.IntRange(min=2, max=100), default=16, show_default=True)
@click.option("--brokers", type=click.IntRange(min=1, max=4), default=1, show_default=True, help="Of one publisher.")
@click.option("--seed", type=int, help="The same choices again (not the same timing).")
def main(requests: int, rows: int, brokers: int, seed: int | None) -> None:
    """Ask models at the moment when they fall asleep, and check what every request and every engine got."""
    seed = random.randrange(1 << 30) if seed is None else seed
    click.echo(f"seed {seed}, {requests} requests, {rows} rows, brokers: {brokers}")
    folder = Path(tempfile.mkdtemp(prefix="reveille-race-"))
    try:
        outcome = _raced(folder, brokers, requests=requests, rows=rows, seed=seed)
    except AssertionError as left:
        raise click.ClickException(f"{left}\nthe processes' logs are in {folder}") from None
    click.echo(report(outcome))
    if outcome.wrong:
        click.echo(f"the processes' logs are in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def _raced(folder: Path, brokers: int, **told: int) -> Outcome:
    terminal = sys.stdout
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(single_server(folder))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # the stages' logs stay in the folder
        stages = [stack.enter_context(stage_in(folder / f"broker-{number}", redis)) for number in range(brokers)]
        return asyncio.run(race(stages, say=functools.partial(click.echo, file=terminal), **told))


@contextlib.contextmanager
def stage_in(folder: Path, redis: Server) -> Iterator[Stage]:
    folder.mkdir()
    with processes.stage(folder, ServerPlace(redis)) as stage:
        yield stage


def report(outcome: Outcome) -> str:
    answers = outcome.answers
    lines = [
        f"{len(answers.asked)} requests in {outcome.seconds:.0f} s, {len(answers.asked) / outcome.seconds:.0f}/s; "
        f"answered after p50 {answers.percentile(0.5) * 1000:.0f} ms, p99 {answers.percentile(0.99) * 1000:.0f} ms",
        f"{outcome.sleeps} sleeps, {outcome.wakes} wakes, {outcome.called_off} sleeps called off, {outcome.insults} insults; "
        f"by hand {outcome.by_hand} sleeps, {outcome.refused} refused for work",
        *(f"WRONG: {what}" for what in outcome.wrong[:SHOWN]),
    ]
    lines.append(f"{len(outcome.wrong)} things are wrong" if outcome.wrong else "nothing is wrong with any of them")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
