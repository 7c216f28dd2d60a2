"""What ``publisher status`` prints of a publisher: itself, its brokers, its LLMs."""

from __future__ import annotations

from publisher.cli.printing import Cell, say, table
from publisher.status import BrokerStatus, RowStatus, Status
from publisher.terminal.amounts import count, seconds

COLOURS = {
    "active": "green", "draining": "green", "in line": "yellow", "waking": "yellow", "falling asleep": "yellow", "hibernating": "blue", "unreachable": "red",
    "open": "green", "connecting": "yellow", "registering": "yellow", "refused": "red", "closed": "red",
}
PASSING = ("draining", "in line", "waking", "falling asleep", "unreachable")  # states of which one wants to know for how long


def show(status: Status) -> None:
    memory = f"  {status.memory_bytes / (1 << 20):.0f} MB" if status.memory_bytes else ""
    up = seconds(status.up_s)
    say(f"publisher {status.version}  pid {status.pid}  up {up}{memory}  {status.config}".rstrip(), bold=True)
    if status.config_error:
        say(f"the edited config is not used: {status.config_error}", "red")
    say()
    if status.brokers:
        table(("BROKER", "STATE", "FOR", "SESSION", "LAST ERROR"), [_broker(one) for one in status.brokers])
    else:
        say("no broker", "red")
    say()
    if status.rows:
        heads = ("NAME", "STATE", "SLOTS", "WAITING", "TOKENS/S", "SLEEPS IN", "WARM", "REQUESTS", "LAST ERROR")
        table(heads, [_row(one) for one in status.rows])
    else:
        say("nothing is published", "yellow")


def _broker(one: BrokerStatus) -> tuple[Cell, ...]:
    return (
        Cell(one.url),
        Cell(one.state, COLOURS.get(one.state)),
        Cell(seconds(one.since_s), right=True),
        Cell(one.session or "", dim=True),
        _error(one.last_error, one.last_error_ago_s),
    )


def _row(one: RowStatus) -> tuple[Cell, ...]:
    passing = f" {seconds(one.state_since_s)}" if one.state in PASSING else ""
    failed = f", {count(one.failed)} failed" if one.failed else ""
    return (
        Cell(one.name),
        Cell(one.state + passing, COLOURS.get(one.state)),
        Cell(f"{one.running}/{one.slots}", right=True),
        Cell(count(one.waiting) if one.waiting else "-", right=True),
        Cell(f"{one.tokens_per_s:.1f}" if one.tokens_per_s else "-", right=True),
        Cell(seconds(one.sleeps_in_s) if one.sleeps_in_s is not None else "-", right=True),
        Cell(_warm(one), right=True),
        Cell(f"{count(one.requests)}{failed}"),
        _error(one.last_error, one.last_error_ago_s),
    )


def _warm(one: RowStatus) -> str:
    """For how long its warm hours go on, or when they begin; nothing for one that has none."""
    if one.warm_changes_in_s is None:
        return "always" if one.warm else ""
    return seconds(one.warm_changes_in_s) if one.warm else f"in {seconds(one.warm_changes_in_s)}"


def _error(text: str, ago_s: float | None) -> Cell:
    if not text:
        return Cell("")
    ago = f"{seconds(ago_s)} ago: " if ago_s is not None else ""
    return Cell(ago + text, dim=True)
