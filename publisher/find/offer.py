"""For ``publisher run`` with nothing configured: what was found is offered for publishing.

On a terminal it asks; elsewhere it says which commands would do it. It writes
nothing: that is ``publisher init``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from publisher.config.values import BrokerAddress, Config, ConfigError, Provider
from publisher.find.addresses import bare, checked_broker
from publisher.find.asking import Ask, Terminal, on_terminal
from publisher.find.choice import Row, numbers, providers, rows
from publisher.find.found import Found, Sight, shown
from publisher.find.listing import columns, nothing, table
from publisher.terminal.typed import typed

DEFAULT_BROKER = "http://127.0.0.1:8080"


def offered(broker: BrokerAddress | None, ask: Ask | None = None) -> Config | None:
    """What to publish now, or ``None``: then it was said why not, and how.

    ``ask`` left out: the terminal, if there is one.
    """
    from publisher.find.detect import look

    asking = ask or (Terminal() if on_terminal() else None)
    tell = (asking or Terminal()).tell
    sight = asyncio.run(look())
    if not rows(sight.found):
        tell(f"publisher: nothing to publish: {nothing(sight)}")
        return None
    for line in table(sight.found):
        tell(line)
    if asking is None:
        for line in commands(sight, broker):
            tell(line)
        return None
    broker = broker or ask_for_broker(asking, sight)
    chosen = offer(sight.found, broker.url, asking)
    if not chosen:
        tell("nothing is published")
        return None
    tell("For this run only: publisher init writes a config file.")
    return Config(brokers=(broker,), providers=chosen)


def offer(found: Sequence[Found], broker_url: str, ask: Ask) -> tuple[Provider, ...]:
    """What the person wants published; empty for nothing."""
    there = rows(found)
    while True:
        said = ask.text(f"Publish these at {shown(broker_url)}? [Y/n/choose]", default="").lower()
        if said in ("", "y", "yes"):
            return providers(there)
        if said in ("n", "no"):
            return ()
        if said in ("c", "choose"):
            return providers(choose(there, ask))
        ask.tell('Answer "y", "n" or "choose".')


def choose(there: Sequence[Row], ask: Ask) -> list[Row]:
    """Some of these rows, by number."""
    for line in columns(
        ["", "MODEL", "SERVER", "ADDRESS"],
        [[str(n), shown(model, 60), shown(one.server, 40), one.url] for n, (one, model) in enumerate(there, 1)],
    ):
        ask.tell(line)
    while True:
        try:
            return [there[n] for n in numbers(ask.text('Which? Numbers, or "all"', default="all"), len(there))]
        except ValueError as err:
            ask.tell(str(err))


def ask_for_broker(ask: Ask, sight: Sight) -> BrokerAddress:
    while True:
        try:
            return BrokerAddress(checked_broker(ask.text("Broker address", default=(sight.brokers or [DEFAULT_BROKER])[0])))
        except ConfigError as err:
            ask.tell(str(err))


def commands(sight: Sight, broker: BrokerAddress | None) -> list[str]:
    """The two ways to publish it without a terminal."""
    one, model = rows(sight.found)[0]
    at = f" --broker {typed(bare(broker.url) if broker else (sight.brokers or [DEFAULT_BROKER])[0])}"
    kind = "" if one.type == "openai" else f" --type {one.type}"
    return [
        "publisher: nothing is configured, so nothing is published. Either of these does it:",
        f"  publisher init --yes{at} && publisher run",
        f"  publisher run{at}{kind} --backend {typed(one.url)} --model {typed(shown(model))}",
    ]
