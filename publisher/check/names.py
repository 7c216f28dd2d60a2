"""Checks that no two LLMs would be published under one name.

Names that are written twice are refused when the config is read. What patterns
make of a server's models is known only here.
"""

from __future__ import annotations

from collections.abc import Iterable

from publisher.check.backend import Sight
from publisher.check.finding import About, Finding
from publisher.config.values import Provider
from publisher.find.addresses import bare
from publisher.published.patterns import expand


def check_names(sights: Iterable[Sight]) -> list[Finding]:
    about = About("names")
    owners: dict[str, Provider] = {}
    found = []
    count = 0
    for sight in sights:
        for one in expand(sight.provider, sight.models or ()):
            count += 1
            for name in (one.name, *(one.aliases or ())):
                if name in owners:
                    twins = f"{_called(owners[name])} and {_called(one)}"
                    found.append(about.warning(f'"{name}" would be the name of two: {twins}', 'give one another "name"'))
                owners.setdefault(name, one)
    if found or not count:
        return found
    return [about.ok(f"{count} LLM{'' if count == 1 else 's'}, each with its own name")]


def _called(provider: Provider) -> str:
    return f'"{provider.model}" at {bare(provider.url)}'
