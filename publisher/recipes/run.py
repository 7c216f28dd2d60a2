"""Runs a recipe: its steps in order, to the first that fails.

Recipes come from the publisher's own config file and from nowhere else; a task
names a provider, never a command or a URL. It knows the order of steps, not how
one is done, and it never looks whether the backend answers afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from publisher.backends.seam import Backend
from publisher.config.values import Command, Http, Native, Process, Recipe, Step, StopProcess, WaitFor, WakeOnLan
from publisher.failures import RecipeFailed
from publisher.recipes.command import run_command
from publisher.recipes.http import call
from publisher.recipes.server_process import ServerProcess
from publisher.recipes.wait_for import wait_for
from publisher.recipes.wake_on_lan import wake_on_lan

KINDS = {
    Http: "http",
    Command: "command",
    Process: "process",
    StopProcess: "process",
    Native: "native",
    WakeOnLan: "wake-on-lan",
    WaitFor: "wait",
}


@dataclass
class Tools:
    """What the steps of one provider work with. ``process``: what its ``process`` step runs."""

    http: aiohttp.ClientSession
    backend: Backend
    model: str
    process: ServerProcess | None
    http_timeout_s: float = 30.0
    native_timeout_s: float = 600.0  # a large model may take minutes; a broker waits no longer


async def run_recipe(recipe: Recipe, tools: Tools, *, waking: bool) -> None:
    """``waking``: it is the ``wake`` recipe, not the ``sleep`` one; a native step means one or the other."""
    count = len(recipe.steps)
    for number, step in enumerate(recipe.steps, 1):
        try:
            await _run(step, tools, waking)
        except RecipeFailed as err:
            if count == 1:
                raise
            raise RecipeFailed(f"step {number} of {count} ({KINDS[type(step)]}): {err}") from None


async def _run(step: Step, tools: Tools, waking: bool) -> None:
    match step:
        case Http():
            await call(step, tools.http, tools.http_timeout_s)
        case Command():
            await run_command(step)
        case Process():
            await _process(tools).start()
        case StopProcess():
            await _process(tools).stop()
        case Native():
            await _native(step, tools, waking)
        case WakeOnLan():
            await wake_on_lan(step)
        case WaitFor():
            await wait_for(step, tools.http)


async def _native(step: Native, tools: Tools, waking: bool) -> None:
    backend, model = tools.backend, tools.model
    try:
        async with asyncio.timeout(tools.native_timeout_s):
            await (backend.load(model, step.keep_alive) if waking else backend.unload(model, step.level))
    except TimeoutError:
        what = "load" if waking else "unload"
        raise RecipeFailed(
            f"the server at {backend.url} did not {what} the model within {tools.native_timeout_s:g} s"
        ) from None


def _process(tools: Tools) -> ServerProcess:
    if tools.process is None:
        raise RecipeFailed('there is no process to start or stop: give "wake" a step of type process')
    return tools.process
