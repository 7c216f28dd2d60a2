"""Which of a server's models are published, and as what: patterns become providers.

The later pattern wins, so that ``["*", "!*embed*", {"match": "qwen3", …}]`` reads
as it works. Plain functions: it asks no server.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterable
from dataclasses import replace

from publisher.config.values import Pattern, Provider

log = logging.getLogger("publisher")

LONGEST_NAME = 128
LATEST = ":latest"  # which Ollama adds to a name without a tag, and takes as well as leaves out


def expand(provider: Provider, models: Iterable[str]) -> list[Provider]:
    """One provider for each model that is taken, in the models' order; a provider without patterns as it is."""
    if not provider.patterns:
        return [provider]
    found: dict[str, Provider] = {}
    for model in dict.fromkeys(models):
        pattern = _taken_by(provider.patterns, model)
        if pattern is None:
            continue
        one = _published(provider, pattern, model)
        if not _can_be_a_name(one.name):
            log.warning('model "%s" cannot be published as "%s": give it a "name" of its own', model, one.name[:200])
        elif one.name in found:
            log.warning('models "%s" and "%s" would both be "%s": only the first is published',
                        found[one.name].model, model, one.name)
        else:
            found[one.name] = one
    return list(found.values())


def _taken_by(patterns: tuple[Pattern, ...], model: str) -> Pattern | None:
    taken = None
    for pattern in patterns:
        if pattern.match.startswith("!"):
            if fnmatch.fnmatchcase(model, pattern.match[1:]):
                taken = None
        elif fnmatch.fnmatchcase(model, pattern.match):
            taken = pattern
    return taken


def _published(provider: Provider, pattern: Pattern, model: str) -> Provider:
    short = model.removesuffix(LATEST) if provider.type == "ollama" else model
    aliases = pattern.aliases if pattern.aliases is not None else provider.aliases
    if aliases is None and short != model:
        aliases = ((pattern.name or provider.name).replace("{model}", model),)
    return replace(
        provider,
        patterns=(),
        model=model,
        name=(pattern.name or provider.name).replace("{model}", short),
        aliases=None if aliases is None else tuple(alias.replace("{model}", short) for alias in aliases),
        description=pattern.description if pattern.description is not None else provider.description,
        tier=pattern.tier or provider.tier,
        slots=pattern.slots or provider.slots,
    )


def _can_be_a_name(name: str) -> bool:
    plain = not any(ord(character) < 32 or ord(character) == 127 for character in name)
    return plain and 1 <= len(name) <= LONGEST_NAME and not name.startswith("_")
