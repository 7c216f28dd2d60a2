"""Checks what a recipe needs to be there: programs, folders, hosts. It runs nothing.

Whether a recipe works, only a wake can tell: ``publisher wake``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path

from yarl import URL

from publisher.check.finding import About, Finding
from publisher.check.writable import why_not_writable
from publisher.config.values import Command, Http, Process, Provider, Recipe, Step, ToolServer, WaitFor, WakeOnLan
from publisher.recipes.log_file import log_path
from publisher.terminal.typed import typed

RESOLVE_S = 5.0


async def check_recipes(provider: Provider, offline: bool) -> list[Finding]:
    found = []
    for what, recipe in (("wake", provider.wake), ("sleep", provider.sleep)):
        if recipe is not None:
            about = About(f'{what} recipe of "{provider.name}"')
            found += await _checked(recipe, provider.name, about, offline) or [about.ok("what it needs is there")]
    return found


async def _checked(recipe: Recipe, name: str, about: About, offline: bool) -> list[Finding]:
    found: list[Finding] = []
    woken = False  # a machine that sleeps may not be known to the network yet
    for step in recipe.steps:
        if isinstance(step, Command | Process):
            found += check_program(step, about)
        if isinstance(step, Process):
            found += _log(step, name, about)
        if not offline and (host := _host(step)):
            found += await check_resolves(host, about, woken)
        woken = woken or isinstance(step, WakeOnLan)
    return found


def check_program(step: Command | Process | ToolServer, about: About) -> list[Finding]:
    if step.directory is not None and not os.path.isdir(step.directory):
        return [about.error(f"its directory {step.directory} does not exist", "create it, or correct the config")]
    path = {**os.environ, **step.env}.get("PATH")
    named = step.command
    if shutil.which(named, path=path):
        return []
    if os.path.isdir(named):
        return [about.error(f"{named} is a folder", "name the program in it")]
    if os.path.isfile(named):
        return [about.error(f"{named} is not executable", f"chmod +x {typed(named)}")]
    where = "" if os.path.dirname(named) else " on the PATH"
    first, space, _ = named.partition(" ")
    if space and shutil.which(first, path=path):
        return [about.error(f"there is no program {named}{where}", f"{first} is there: the rest belongs into args")]
    remedy = "a service may have another PATH than your shell: give the whole path" if where else "correct its path"
    return [about.error(f"there is no program {named}{where}", remedy)]


def _log(step: Process, name: str, about: About) -> list[Finding]:
    file = Path(step.log_file) if step.log_file else log_path(name)
    if why := why_not_writable(file):
        return [about.warning(f"the server's output cannot be kept in {file}: {why}", 'make it writable, or set "logFile"')]
    return []


def _host(step: Step) -> str | None:
    if isinstance(step, Http | WaitFor):
        return URL(step.url).host
    return step.broadcast if isinstance(step, WakeOnLan) else None


async def check_resolves(host: str, about: About, woken: bool = False) -> list[Finding]:
    try:
        async with asyncio.timeout(RESOLVE_S):
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        what, remedy = f"the name {host} does not resolve", "correct the recipe, or use the machine's address"
        return [about.warning(what, remedy) if woken else about.error(what, remedy)]
    return []
