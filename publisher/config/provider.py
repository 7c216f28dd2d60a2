"""Makes a provider out of what the file says, and refuses what cannot be published.

Names, models and patterns are here, and what idling needs; recipes are in
``recipe.py``. Nothing is asked of any server.
"""

from __future__ import annotations

from publisher.backends.types import DEFAULT_URLS
from publisher.config.address import check_address
from publisher.config.hours import hours_of
from publisher.config.mistake import Mistake, Place
from publisher.config.recipe import recipes_of
from publisher.config.schema import ModelEntry, ProviderEntry
from publisher.config.secrets import Folder, check_written
from publisher.config.values import GROUP_WAIT_S, MAX_WAIT_S, Pattern, Provider, Recipe

MODEL = "{model}"


def provider_of(entry: ProviderEntry, at: Place, folder: Folder) -> Provider:
    patterns = _patterns(entry, at)
    name = _name(entry, at, bool(patterns))
    url = entry.url or DEFAULT_URLS.get(entry.type)
    if url is None:
        raise Mistake((*at, "url"), "is missing")
    check_address(url, (*at, "url"))
    if entry.apiKey and entry.apiKeyFile:
        raise Mistake((*at, "apiKeyFile"), "stands beside apiKey: only one of them can count")
    check_written(entry.apiKey, (*at, "apiKey"))
    wake, sleep = recipes_of(entry, at, bool(patterns), folder)
    _check_idling(entry, at, wake, sleep)
    return Provider(
        name=name,
        url=url,
        model="" if patterns else entry.model or name,
        patterns=patterns,
        type=entry.type,
        api_key=_key(entry, at, folder),
        slots=entry.slots,
        aliases=None if entry.aliases is None else tuple(entry.aliases),
        tier=entry.tier,
        description=entry.description,
        extra_config=entry.extraConfig,
        wake=wake,
        max_wait_s=entry.wake.maxWaitSeconds if entry.wake else MAX_WAIT_S,
        sleep=sleep,
        idle_s=entry.idleSeconds,
        min_awake_s=entry.minAwakeSeconds,
        warm_hours=hours_of(entry.warmHours or (), (*at, "warmHours")),
        group=entry.group,
        group_wait_s=GROUP_WAIT_S if entry.groupWaitSeconds is None else entry.groupWaitSeconds,
        canary="chat" if entry.canary is True else entry.canary or None,
    )


def is_pattern(model: str) -> bool:
    return any(sign in model for sign in "*?[")


def written_names(entry: ProviderEntry, at: Place) -> list[tuple[Place, str]]:
    """Each name and alias with its place. Templates are left out: what they become is not known yet."""
    return [(place, name) for place, name in _names(entry, at) if MODEL not in name]


def _names(entry: ProviderEntry, at: Place) -> list[tuple[Place, str]]:
    own = [((*at, "name"), entry.name)] if entry.name else []
    return own + [((*at, "aliases", n), alias) for n, alias in enumerate(entry.aliases or ())]


def _name(entry: ProviderEntry, at: Place, patterns: bool) -> str:
    name = entry.name or (MODEL if patterns else None)
    if name is None:
        raise Mistake((*at, "name"), "is missing")
    for place, text in _names(entry, at):
        if patterns:
            _must_hold(text, place)
        elif MODEL in text:
            raise Mistake(place, "holds {model}, which only a pattern in model or models can fill")
    return name


def _patterns(entry: ProviderEntry, at: Place) -> tuple[Pattern, ...]:
    if entry.models is None:
        return (_pattern(entry.model, (*at, "model")),) if entry.model and is_pattern(entry.model) else ()
    if entry.model is not None:
        raise Mistake((*at, "models"), "stands beside model: only one of them can count")
    found = tuple(_pattern(model, (*at, "models", number)) for number, model in enumerate(entry.models))
    if all(pattern.match.startswith("!") for pattern in found):
        raise Mistake((*at, "models"), 'takes models out and none in: add "*" or a name')
    return found


def _pattern(told: str | ModelEntry, at: Place) -> Pattern:
    if isinstance(told, str):
        told, at_match = ModelEntry(match=told), at
    else:
        at_match = (*at, "match")
    taken_out = told.match.startswith("!")
    if told.match == "!":
        raise Mistake(at_match, "names no model after the !")
    if taken_out and told != ModelEntry(match=told.match):
        raise Mistake(at, "takes models out with its !, so nothing else can be said of them")
    if is_pattern(told.match):
        _must_hold(told.name or MODEL, (*at, "name"))
        for number, alias in enumerate(told.aliases or ()):
            _must_hold(alias, (*at, "aliases", number))
    aliases = None if told.aliases is None else tuple(told.aliases)
    return Pattern(told.match, told.name, aliases, told.description, told.tier, told.slots)


def _must_hold(name: str, at: Place) -> None:
    if MODEL not in name:
        raise Mistake(at, "must hold {model}: several models would be published by one name")


def _key(entry: ProviderEntry, at: Place, folder: Folder) -> str | None:
    if not entry.publish:  # its file need not be there
        return entry.apiKey
    try:
        return folder.secret(entry.apiKey, entry.apiKeyFile)
    except Mistake as mistake:
        raise Mistake((*at, "apiKeyFile"), mistake.text) from None


def _check_idling(entry: ProviderEntry, at: Place, wake: Recipe | None, sleep: Recipe | None) -> None:
    for field in ("idleSeconds", "group"):
        if getattr(entry, field) is not None and sleep is None:
            raise Mistake((*at, field), "needs a sleep recipe, or a wake recipe of type process")
    if sleep is not None and wake is None:
        raise Mistake((*at, "sleep"), "needs a wake recipe as well: nothing else could wake it again")
    if entry.groupWaitSeconds is not None and entry.group is None:
        raise Mistake((*at, "groupWaitSeconds"), "needs a group: nothing else is waited for")
    if entry.warmHours is not None and wake is None:
        raise Mistake((*at, "warmHours"), "needs a wake recipe")
    if entry.canary and wake is None:
        raise Mistake((*at, "canary"), "needs a wake recipe: it tries the server after a wake")
