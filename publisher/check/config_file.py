"""Checks who may read the config file and the files of secrets that it names.

That it can be read and understood is sure by then.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from publisher.check.finding import About, Finding
from publisher.config.values import Command, Config, Http, Process, Recipe
from publisher.terminal.typed import typed

SHORTEST_SECRET = 4


def check_config_file(path: Path, config: Config, files: Iterable[Path]) -> list[Finding]:
    """``files``: all that were read with it, those of tokens and keys among them."""
    about = About(f"config {path}")
    published = len(config.providers) + len(config.tools)
    found = [about.ok(_counted(published, config.unpublished))]
    if not published:
        found = [about.error("nothing is published", 'set "publish": true on a provider')]
    if not config.brokers:
        found.append(about.error("no broker is named", 'set "broker", or BROKER_URL'))
    secrets = set(_secrets(config))
    text = path.read_text("utf-8", errors="replace")
    if any(secret in text for secret in secrets) and _others_may_read(path):
        found.append(about.warning("it holds secrets, and other users may read it", f"chmod 600 {typed(path)}"))
    for file in files:
        if file != path and _others_may_read(file) and file.read_text("utf-8", errors="replace").strip() in secrets:
            found.append(about.warning(f"other users may read the secret in {file}", f"chmod 600 {typed(file)}"))
    return found


def _counted(published: int, others: int) -> str:
    entries = "entry is" if published == 1 else "entries are"
    return f"{published} {entries} published" + (f', {others} without "publish": true' if others else "")


def _others_may_read(path: Path) -> bool:
    if sys.platform == "win32":  # its permissions are not in the mode
        return False
    return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _secrets(config: Config) -> Iterator[str]:
    """Where they come from does not matter here: one out of a variable is not in the file's text."""
    told: list[str | None] = []
    for broker in config.brokers:
        told += [broker.token, urlsplit(broker.proxy or "").password]
    for provider in config.providers:
        told += [provider.api_key, urlsplit(provider.url).password, *_of_recipe(provider.wake), *_of_recipe(provider.sleep)]
    for tool in config.tools:
        told += [urlsplit(tool.url).password, *(value for name, value in tool.env.items() if _telling(name))]
    return (secret for secret in told if secret and len(secret) >= SHORTEST_SECRET)


def _of_recipe(recipe: Recipe | None) -> Iterator[str]:
    """Only what is called like a secret: a recipe is full of texts that are none."""
    for step in recipe.steps if recipe else ():
        if isinstance(step, Http):
            yield from (value for name, value in step.headers.items() if _telling(name))
        elif isinstance(step, Command | Process):
            yield from (value for name, value in step.env.items() if _telling(name))


def _telling(name: str) -> bool:
    return any(word in name.lower() for word in ("authorization", "token", "key", "secret", "password"))
